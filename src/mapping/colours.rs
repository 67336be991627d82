//! Tables of colour codes (`schemas/mappings/colours.toml`) and the words registers use.

use std::sync::LazyLock;

use hashbrown::HashMap;

use crate::reading::PlateColor;

/// One table: code as text to colour.
pub type Codes = HashMap<Box<str>, PlateColor>;

const TEXT: &str = include_str!("../../schemas/mappings/colours.toml");

/// By name. A test shows that the built-in text is right.
static TABLES: LazyLock<Vec<(String, Codes)>> = LazyLock::new(|| parse(TEXT).unwrap_or_default());

pub fn table(name: &str) -> Option<&'static Codes> {
    TABLES.iter().find(|(known, _)| known == name).map(|(_, codes)| codes)
}

pub fn names() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| name.as_str()).collect()
}

fn parse(text: &str) -> Option<Vec<(String, Codes)>> {
    let tables: toml::Table = text.parse().ok()?;
    let codes = |table: &toml::Value| -> Option<Codes> {
        let codes = table.get("codes")?.as_table()?.iter();
        codes.map(|(code, colour)| Some((code.as_str().into(), PlateColor::parse(colour.as_str()?)?))).collect()
    };
    tables.iter().map(|(name, table)| Some((name.clone(), codes(table)?))).collect()
}

/// The contract's names, and the words that registers in China export.
pub fn word(text: &str) -> Option<PlateColor> {
    Some(match text {
        "蓝" | "蓝色" => PlateColor::Blue,
        "黄" | "黄色" => PlateColor::Yellow,
        "绿" | "绿色" | "渐变绿" | "渐变绿色" => PlateColor::Green,
        "黄绿" | "黄绿色" | "黄绿双拼" | "黄绿双拼色" => PlateColor::YellowGreen,
        "白" | "白色" => PlateColor::White,
        "黑" | "黑色" => PlateColor::Black,
        "其他" => PlateColor::Other,
        name => return PlateColor::parse(&name.to_ascii_lowercase()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_tables_disagree_as_the_texts_say() {
        assert_eq!(names(), ["etc", "gat1400", "jtt697"]);
        let colour = |name: &str, code: &str| table(name).and_then(|codes| codes.get(code).copied());
        assert_eq!(colour("jtt697", "1"), Some(PlateColor::Blue));
        assert_eq!(colour("gat1400", "1"), Some(PlateColor::Black));
        assert_eq!(colour("etc", "1"), Some(PlateColor::Yellow));
        assert_eq!(colour("jtt697", "93"), Some(PlateColor::YellowGreen));
        assert_eq!(colour("etc", "9"), None);
        for (name, count) in [("jtt697", 11), ("gat1400", 6), ("etc", 5)] {
            assert_eq!(table(name).map(HashMap::len), Some(count), "{name}");
        }
    }

    #[test]
    fn colours_by_either_name() {
        assert_eq!(word("黄"), Some(PlateColor::Yellow));
        assert_eq!(word("Yellow_Green"), Some(PlateColor::YellowGreen));
        assert_eq!(word("粉"), None);
        assert_eq!(word(""), None);
    }
}
