//! What an instrument can have measured, as against what its field on the wire can hold. A value beyond is none.
//!
//! Decoding says what the bytes mean; the service takes back what no instrument can have meant ([`Frame::keep_within`])
//! before anything is stored or judged. The numbers are those of `schemas/terminal.toml`.

use super::{
    body::{Hybrid, RetrofitSmoke, StreamChannels, Supplement, TwcChannels},
    channel::NotValue,
    frame::{Body, Frame, Unit},
    position::PositionReading,
};
use crate::reading::Area;

/// Least and greatest value of a channel, both included, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub min: f64,
    pub max: f64,
}

impl Span {
    pub fn holds(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// The span of every channel of every body, and where a device can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    pub area: Area,
    stream: [Span; StreamChannels::NAMES.len()],
    twc: [Span; TwcChannels::NAMES.len()],
    supplement: [Span; Supplement::NAMES.len()],
    smoke: [Span; RetrofitSmoke::NAMES.len()],
    hybrid: [Span; Hybrid::NAMES.len()],
}

impl Bounds {
    /// Names of all channels, some of them several times, because bodies share them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let bodies: [&[&str]; 5] =
            [&StreamChannels::NAMES, &TwcChannels::NAMES, &Supplement::NAMES, &RetrofitSmoke::NAMES, &Hybrid::NAMES];
        bodies.into_iter().flatten().copied()
    }

    /// `span` is asked for each of [`Self::names`].
    pub fn new(area: Area, span: impl Fn(&'static str) -> Span) -> Self {
        Self {
            area,
            stream: StreamChannels::NAMES.map(&span),
            twc: TwcChannels::NAMES.map(&span),
            supplement: Supplement::NAMES.map(&span),
            smoke: RetrofitSmoke::NAMES.map(&span),
            hybrid: Hybrid::NAMES.map(&span),
        }
    }
}

impl Bounds {
    /// Whether the instrument of a channel of the data stream can have measured the value; `false` for a name that is none.
    pub fn holds_of_stream(&self, name: &str, value: f64) -> bool {
        let place = StreamChannels::NAMES.iter().position(|known| *known == name);
        place.and_then(|place| self.stream.get(place)).is_some_and(|span| span.holds(value))
    }
}

impl Frame {
    /// Takes back every value and position that none of the instruments can have measured, with the reason.
    pub fn keep_within(&mut self, bounds: &Bounds) {
        if let Unit::Data { position } | Unit::RemovalAlarm { position, .. } = &mut self.unit {
            position.keep_within(&bounds.area);
        }
        for item in &mut self.items {
            match &mut item.body {
                Body::Obd(obd) => obd.position.keep_within(&bounds.area),
                Body::Stream(stream) => {
                    stream.position.keep_within(&bounds.area);
                    stream.channels.keep_within(&bounds.stream);
                }
                Body::Twc(twc) => {
                    twc.position.keep_within(&bounds.area);
                    twc.channels.keep_within(&bounds.twc);
                }
                Body::Supplement(supplement) => supplement.keep_within(&bounds.supplement),
                Body::RetrofitSmoke(smoke) => smoke.keep_within(&bounds.smoke),
                Body::Hybrid(hybrid) => hybrid.keep_within(&bounds.hybrid),
                Body::Vendor(_) | Body::Unknown(_) => {}
            }
        }
    }
}

impl PositionReading {
    fn keep_within(&mut self, area: &Area) {
        if let PositionReading::Known(position) = *self
            && !area.holds(position.lon, position.lat)
        {
            let nowhere = position.lon == 0.0 && position.lat == 0.0;
            *self = PositionReading::Not(if nowhere { NotValue::NotAvailable } else { NotValue::OutOfRange });
        }
    }
}
