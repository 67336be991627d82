//! Which kind of device speaks next.

use std::str::FromStr;

/// Kinds of device, in the order in which [`Mix::new`] takes their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    RemoteSensing,
    Obd,
    Nonroad,
    Retrofit,
}

impl Source {
    pub const ALL: [Source; 4] = [Source::RemoteSensing, Source::Obd, Source::Nonroad, Source::Retrofit];

    /// The level of the topic that names the kind.
    pub const fn topic(self) -> &'static str {
        match self {
            Source::RemoteSensing => "rs",
            Source::Obd => "obd",
            Source::Nonroad => "nonroad",
            Source::Retrofit => "retrofit",
        }
    }
}

/// Shares of the messages, adding up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    shares: [f64; 4],
}

/// Why a text is no mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    #[error("`{0}` is not of the form rs=80")]
    Form(String),
    #[error("`{0}` is none of rs, obd, nonroad, retrofit")]
    Source(String),
    #[error("the shares must not be negative and one must be above zero")]
    Shares,
}

impl Mix {
    /// Weights in the order of [`Source::ALL`]; only their ratios count.
    pub fn new(weights: [f64; 4]) -> Result<Self, MixError> {
        let sum: f64 = weights.iter().sum();
        if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || sum <= 0.0 || !sum.is_finite() {
            return Err(MixError::Shares);
        }
        Ok(Self { shares: weights.map(|weight| weight / sum) })
    }

    pub const fn only_passages() -> Self {
        Self { shares: [1.0, 0.0, 0.0, 0.0] }
    }

    pub fn share(&self, source: Source) -> f64 {
        self.shares[source as usize]
    }
}

/// What a demo shows: mostly passages, and at 30 messages a second as many terminals as the demo fleet has, each at its
/// natural cadence of 10 s.
impl Default for Mix {
    fn default() -> Self {
        Self { shares: [0.80, 0.12, 0.04, 0.04] }
    }
}

/// `rs=80,obd=12,nonroad=4,retrofit=4`; what is left out has no share.
impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut weights = [0.0; 4];
        for part in text.split(',') {
            let part = part.trim();
            let form = || MixError::Form(part.to_owned());
            let (name, weight) = part.split_once('=').ok_or_else(form)?;
            let source = Source::ALL.into_iter().find(|source| source.topic() == name.trim());
            let source = source.ok_or_else(|| MixError::Source(name.trim().to_owned()))?;
            weights[source as usize] = weight.trim().parse().map_err(|_| form())?;
        }
        Self::new(weights)
    }
}

/// Deals kinds out as evenly as the shares allow, always in the same order.
#[derive(Clone, Debug)]
pub(super) struct Dealer {
    mix: Mix,
    credit: [f64; 4],
}

impl Dealer {
    pub fn new(mix: Mix) -> Self {
        Self { mix, credit: [0.0; 4] }
    }

    pub fn deal(&mut self) -> Source {
        let mut best = Source::RemoteSensing;
        for source in Source::ALL {
            self.credit[source as usize] += self.mix.share(source);
            if self.credit[source as usize] > self.credit[best as usize] {
                best = source;
            }
        }
        self.credit[best as usize] -= 1.0;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_to_shares() {
        let mix: Mix = "rs=3, obd=1".parse().expect("a mix");
        assert_eq!(mix.share(Source::RemoteSensing), 0.75);
        assert_eq!(mix.share(Source::Retrofit), 0.0);
        assert_eq!("rs".parse::<Mix>(), Err(MixError::Form("rs".into())));
        assert_eq!("truck=1".parse::<Mix>(), Err(MixError::Source("truck".into())));
        assert_eq!("rs=0".parse::<Mix>(), Err(MixError::Shares));
        assert_eq!("rs=-1,obd=2".parse::<Mix>(), Err(MixError::Shares));
        assert!("rs=NaN".parse::<Mix>().is_err());
    }

    #[test]
    fn dealt_evenly() {
        let mut dealer = Dealer::new(Mix::default());
        let dealt: Vec<_> = (0..1000).map(|_| dealer.deal()).collect();
        for source in Source::ALL {
            let count = dealt.iter().filter(|dealt| **dealt == source).count();
            let expected = Mix::default().share(source) * 1000.0;
            assert!((count as f64 - expected).abs() <= 1.0, "{source:?}: {count}");
        }
    }
}
