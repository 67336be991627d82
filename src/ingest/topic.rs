//! From an MQTT topic to the source that subscribed to it and the device that published it. Pure.

use crate::{config::Source, ingest::ring::SourceIndex};

/// Every device's retained state, read with a plain subscription (retained messages never reach a shared one).
pub const STATUS_FILTER: &str = "dw/v1/+/+/status";

/// Why a topic filter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("filter of source {0} must have exactly one level that is +, the device's identity")]
    OnePlus(String),
    #[error("filter of source {0} must not contain # or an empty level, nor begin with $")]
    Malformed(String),
    #[error("at most {max} sources are supported, not {0}", max = SourceIndex::MAX)]
    TooMany(usize),
}

/// The configured filters, split around the device's level.
#[derive(Clone, Debug)]
pub struct Topics {
    filters: Box<[(Box<str>, Box<str>)]>,
}

/// A topic that belongs to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// Index into the configured sources; of several that match the first.
    pub source: usize,
    /// What stands in the place of `+`; never empty.
    pub device: &'a str,
}

impl Topics {
    /// # Errors
    /// A filter without exactly one `+` level, or with levels that match more than one device.
    pub fn new(sources: &[Source]) -> Result<Self, FilterError> {
        if sources.len() >= usize::from(SourceIndex::MAX) {
            return Err(FilterError::TooMany(sources.len()));
        }
        let filters = sources.iter().map(split).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { filters: filters.into() })
    }

    pub fn find<'a>(&self, topic: &'a str) -> Option<Match<'a>> {
        self.filters.iter().enumerate().find_map(|(source, (before, after))| {
            let device = topic.strip_prefix(&**before)?.strip_suffix(&**after)?;
            let one_level = !device.is_empty() && !device.contains('/');
            one_level.then_some(Match { source, device })
        })
    }
}

fn split(source: &Source) -> Result<(Box<str>, Box<str>), FilterError> {
    let filter = &source.filter;
    let levels: Vec<&str> = filter.split('/').collect();
    if levels.iter().filter(|level| **level == "+").count() != 1 || filter.matches('+').count() != 1 {
        return Err(FilterError::OnePlus(source.name.clone()));
    }
    if filter.contains('#') || filter.starts_with('$') || levels.contains(&"") {
        return Err(FilterError::Malformed(source.name.clone()));
    }
    let (before, after) = filter.split_once('+').unwrap_or((filter, ""));
    Ok((before.into(), after.into()))
}

/// The kind and identity in a status topic, such as `("obd", "LGDCHA1G8MA900002")`; `None` for any other topic.
pub fn status_of(topic: &str) -> Option<(&str, &str)> {
    let (kind, device) = topic.strip_prefix("dw/v1/")?.strip_suffix("/status")?.split_once('/')?;
    (!kind.is_empty() && !device.is_empty() && !device.contains('/')).then_some((kind, device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::tests::support::source;

    #[test]
    fn finds_the_source_and_the_device() {
        let sources = [source("rs", "dw/v1/rs/+/passage"), source("obd", "dw/v1/obd/+/frame"), source("tail", "x/+")];
        let topics = Topics::new(&sources).expect("valid filters");
        assert_eq!(topics.find("dw/v1/rs/370306-01/passage"), Some(Match { source: 0, device: "370306-01" }));
        assert_eq!(topics.find("dw/v1/obd/LGDCHA1G8MA900002/frame").map(|found| found.source), Some(1));
        assert_eq!(topics.find("x/鲁C"), Some(Match { source: 2, device: "鲁C" }));
        for topic in ["", "dw/v1/rs//passage", "dw/v1/rs/a/b/passage", "dw/v1/rs/passage", "dw/v1/rs/a/frame", "x/"] {
            assert_eq!(topics.find(topic), None, "{topic}");
        }
    }

    #[test]
    fn refuses_filters_that_do_not_name_one_device() {
        for filter in ["a/b", "a/+/+", "a/b+/c"] {
            assert_eq!(Topics::new(&[source("s", filter)]).unwrap_err(), FilterError::OnePlus("s".into()), "{filter}");
        }
        for filter in ["a/+/#", "$share/g/a/+", "a//+"] {
            assert_eq!(Topics::new(&[source("s", filter)]).unwrap_err(), FilterError::Malformed("s".into()));
        }
    }

    #[test]
    fn a_status_topic_names_kind_and_device() {
        assert_eq!(status_of("dw/v1/obd/X1/status"), Some(("obd", "X1")));
        for topic in ["dw/v1/obd/X1/frame", "dw/v1/obd/status", "dw/v1/obd//status", "dw/v1/a/b/c/status"] {
            assert_eq!(status_of(topic), None, "{topic}");
        }
    }
}
