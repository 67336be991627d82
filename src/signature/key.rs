//! Public keys of terminals, and which of them was in force when.

use sm2::dsa::VerifyingKey;

use crate::reading::Timestamp;

/// X and Y of a point on the SM2 curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 64]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({}..)", hex::encode(self.0.get(..4).unwrap_or_default()))
    }
}

/// SEC1's mark of a point whose both coordinates follow.
const UNCOMPRESSED: u8 = 0x04;

impl PublicKey {
    /// `None` for coordinates of no point on the curve.
    pub fn new(coordinates: [u8; 64]) -> Option<Self> {
        let key = Self(coordinates);
        sm2::PublicKey::from_sec1_bytes(&key.sec1()).ok().map(|_| key)
    }

    pub fn from_slice(coordinates: &[u8]) -> Option<Self> {
        coordinates.try_into().ok().and_then(Self::new)
    }

    /// 128 hex digits, or 130 with the leading `04` of SEC1.
    pub fn parse(text: &str) -> Option<Self> {
        match hex::decode(text.trim()).ok()?.as_slice() {
            [UNCOMPRESSED, coordinates @ ..] if coordinates.len() == 64 => Self::from_slice(coordinates),
            coordinates => Self::from_slice(coordinates),
        }
    }

    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The key ready to verify signatures made for `user_id`; `None` for a user id too long to hash.
    pub fn verifying(&self, user_id: &str) -> Option<VerifyingKey> {
        VerifyingKey::from_sec1_bytes(user_id, &self.sec1()).ok()
    }

    fn sec1(&self) -> [u8; 65] {
        let mut point = [UNCOMPRESSED; 65];
        let (_, coordinates) = point.split_at_mut(1);
        coordinates.copy_from_slice(&self.0);
        point
    }
}

/// All keys of one terminal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Named by the register: in force from an instant on, or always.
    pub registered: Option<(Option<Timestamp>, PublicKey)>,
    /// Filed by the terminal in activations whose own signature held, with the time each says.
    pub activated: Vec<(Timestamp, PublicKey)>,
}

impl History {
    /// The key in force at `at`. Two activations of one second are settled by their bytes, so that the order of arrival
    /// settles nothing.
    pub fn at(&self, at: Timestamp) -> Option<&PublicKey> {
        if let Some((from, key)) = &self.registered
            && from.is_none_or(|from| from <= at)
        {
            return Some(key);
        }
        let past = self.activated.iter().filter(|(from, _)| *from <= at);
        past.max_by_key(|(from, key)| (*from, key.0)).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::check::tests::signer;

    fn at(day: u32) -> Timestamp {
        Timestamp::from_china(2026, 3, day, 8, 0, 0).expect("a date")
    }

    fn key(seed: u8) -> PublicKey {
        signer(seed, "any").1
    }

    #[test]
    fn a_key_is_a_point_in_hex_with_or_without_its_mark() {
        let text = hex::encode(key(1).as_bytes());
        assert_eq!(PublicKey::parse(&text), Some(key(1)));
        assert_eq!(PublicKey::parse(&format!(" 04{} ", text.to_uppercase())), Some(key(1)));
        for wrong in ["", "04", &text[2..], &format!("05{text}"), &format!("{text}00"), &"11".repeat(64)] {
            assert_eq!(PublicKey::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_in_force_at_the_time_counts_and_the_register_outranks_the_terminal() {
        let activated = vec![(at(20), key(2)), (at(10), key(1))];
        let mut history = History { registered: None, activated };
        assert_eq!(history.at(at(9)), None);
        assert_eq!(history.at(at(10)), Some(&key(1)));
        assert_eq!(history.at(at(19)), Some(&key(1)));
        assert_eq!(history.at(at(20)), Some(&key(2)));
        history.registered = Some((Some(at(15)), key(3)));
        assert_eq!(history.at(at(14)), Some(&key(1)));
        assert_eq!(history.at(at(25)), Some(&key(3)));
        history.registered = Some((None, key(3)));
        assert_eq!(history.at(at(1)), Some(&key(3)));
    }

    #[test]
    fn two_keys_of_one_second_do_not_depend_on_the_order_of_arrival() {
        let one = History { registered: None, activated: vec![(at(1), key(1)), (at(1), key(2))] };
        let other = History { registered: None, activated: vec![(at(1), key(2)), (at(1), key(1))] };
        assert_eq!(one.at(at(2)), other.at(at(2)));
    }
}
