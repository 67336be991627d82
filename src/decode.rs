//! Bytes of terminals to fields: pure functions, no clock, no I/O, no panic on any input.
//!
//! The path of a payload: [`decode_payload`] finds out its form (binary, hex text, hex in JSON, channels in JSON), the
//! splitter finds frames in bytes, `packet` reads a header by the tables of the source's protocol, `dialect` the realtime
//! unit in whichever layout fits, and the tables in `body` and `obd` the bodies. A refused frame is a [`FrameError`] with its
//! bytes; it never harms its neighbours.
//!
//! Deliberately left out: the enterprise platform's `7E 7E` frame, the retrofit dialect of which only the order of fields is
//! known, and a little-endian local variant. The first is no terminal's, the others would be guesses. SM2 signatures are found
//! here ([`seal`]) and verified elsewhere, after the commit ([`crate::signature`]).

mod body;
mod bounds;
mod bytes;
mod channel;
mod dialect;
pub mod encode;
mod error;
mod frame;
mod header;
mod hex_text;
mod obd;
mod packet;
mod payload;
mod position;
pub mod remote_sensing;
mod scale;
mod serialize;
mod signature;
mod splitter;
mod terminal_json;
mod times;
mod vendor;
mod walk;

#[cfg(test)]
mod tests;

pub use body::{Hybrid, RetrofitSmoke, Stream, StreamChannels, Supplement, Twc, TwcChannels, WorkState};
pub use bounds::{Bounds, Span};
pub use channel::{Channel, NotValue};
pub use dialect::Layout;
pub use error::{FrameCode, FrameError};
pub use frame::{Activation, Body, Flags, Frame, Item, ItemType, Raw, Unit, Unknown};
pub use header::{Command, FrameProtocol, HeaderShape};
pub use obd::{DiagnosisProtocol, Dtcs, Mil, Obd, ObdDetail, Text};
pub use payload::{Carriage, FrameStream, decode_hex, decode_payload};
pub use position::{Position, PositionReading};
pub use scale::{Scale, Width};
pub use signature::{Seal, seal};
pub use terminal_json::schema as terminal_schema;
pub use vendor::{Tag, Vendor};
