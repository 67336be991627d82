//! Images and videos: checked to be what the schema says, and passed over; the raw payload keeps them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::text::Text;
use crate::{
    reading::Timestamp,
    strict_json::{self, Keys, Passed},
};

/// A list of pictures or films.
pub(super) struct Media;

/// Arrays and objects around a value of an item: the passage, the list, the item.
const ITEM_DEPTH: usize = 3;

impl<'de> Deserialize<'de> for Media {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Media)
    }
}

impl<'de> Visitor<'de> for Media {
    type Value = Media;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pictures or films")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Media, A::Error> {
        while seq.next_element::<Item>()?.is_some() {}
        Ok(Media)
    }
}

struct Item;

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Item)
    }
}

impl<'de> Visitor<'de> for Item {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a picture or film")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut keys = Keys::default();
        while let Some(Key { part, hash }) = map.next_key()? {
            if !keys.add(hash) {
                return Err(de::Error::custom("a key twice"));
            }
            match part {
                Part::Text => {
                    map.next_value::<Option<AnyText>>()?;
                }
                Part::Time => {
                    if let Some(Text(Err(_))) = map.next_value::<Option<Text<Timestamp>>>()? {
                        return Err(de::Error::custom("not an RFC 3339 time with offset"));
                    }
                }
                Part::Other => {
                    map.next_value_seed(Passed::at_depth(ITEM_DEPTH))?;
                }
            }
        }
        if keys.differ() { Ok(Item) } else { Err(de::Error::custom("a key twice")) }
    }
}

enum Part {
    Text,
    Time,
    Other,
}

struct Key {
    part: Part,
    hash: u64,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                let part = match name {
                    "url" | "sha256" => Part::Text,
                    "taken_at" => Part::Time,
                    _ => Part::Other,
                };
                Ok(Key { part, hash: strict_json::hash(name) })
            }
        }
        deserializer.deserialize_identifier(OfText)
    }
}

/// A text of which nothing is kept.
struct AnyText;

impl<'de> Deserialize<'de> for AnyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = AnyText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E>(self, _: &str) -> Result<AnyText, E> {
                Ok(AnyText)
            }
        }
        deserializer.deserialize_str(OfText)
    }
}
