//! What the bytes of a text say about its encoding, counted in one pass over a stream cut anywhere.

use super::TextEncoding;

/// What the bytes alone lead to. It decides only where the content does not: see [`super::super::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaning {
    Utf8,
    Gbk,
    /// Every sequence is one of two bytes that both encodings have: 鲁 and 豫 in GBK are good UTF-8, and so is `³`.
    Neither,
}

/// One 20th of a text in UTF-16 are zero bytes, at the least: so much of a table is digits, commas and line ends.
const ZERO_SHARE: u64 = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    bytes: u64,
    /// Line ends of any kind, `\r\n` being one.
    pub line_ends: u64,
    after_return: bool,
    last: u8,
    /// Zero bytes at even and at odd places.
    zeros: [u64; 2],
    not_ascii: u64,
    /// Good UTF-8 sequences of two bytes, and longer ones.
    short: u64,
    long: u64,
    bad: u64,
    /// Bytes that the current sequence still needs, and how long it is.
    missing: u8,
    length: u8,
}

impl Evidence {
    pub fn take(&mut self, block: &[u8]) {
        for &byte in block {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.line_ends += 1,
                0 => {
                    if let Some(count) = self.zeros.get_mut((self.bytes % 2) as usize) {
                        *count += 1;
                    }
                }
                _ => {}
            }
            self.after_return = byte == b'\r';
            if byte >= 0x80 || self.missing > 0 {
                self.sequence(byte);
            }
            self.bytes += 1;
            self.last = byte;
        }
    }

    fn sequence(&mut self, byte: u8) {
        self.not_ascii += u64::from(byte >= 0x80);
        match (byte, self.missing) {
            (0x80..=0xbf, 1) => {
                self.missing = 0;
                let count = if self.length == 2 { &mut self.short } else { &mut self.long };
                *count += 1;
            }
            (0x80..=0xbf, 2..) => self.missing -= 1,
            (0x80..=0xbf, 0) => self.bad += 1,
            (_, missing) => {
                self.bad += u64::from(missing > 0);
                self.length = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf4 => 4,
                    _ => 0,
                };
                self.missing = self.length.saturating_sub(1);
                self.bad += u64::from(byte >= 0xf5 || matches!(byte, 0xc0 | 0xc1));
            }
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines, the last one also where nothing ends it.
    pub fn lines(&self) -> u64 {
        self.line_ends + u64::from(self.bytes > 0 && !matches!(self.last, b'\n' | b'\r'))
    }

    pub fn is_ascii(&self) -> bool {
        self.not_ascii == 0
    }

    /// UTF-16 without a byte order mark: every second byte of digits and Latin letters is zero.
    pub fn utf16(&self) -> Option<TextEncoding> {
        let [even, odd] = self.zeros;
        let enough = |more: u64, fewer: u64| more.saturating_mul(ZERO_SHARE) >= self.bytes && more > 9 * fewer;
        match () {
            () if self.bytes == 0 => None,
            () if enough(odd, even) => Some(TextEncoding::Utf16Le),
            () if enough(even, odd) => Some(TextEncoding::Utf16Be),
            () => None,
        }
    }

    pub fn leaning(&self) -> Leaning {
        let bad = self.bad + u64::from(self.missing > 0);
        match () {
            () if bad == 0 && self.long == 0 && self.short > 0 => Leaning::Neither,
            // A few damaged characters among many good ones; chance makes few sequences of three bytes in GBK.
            () if bad == 0 || bad.saturating_mul(4) < self.long => Leaning::Utf8,
            () => Leaning::Gbk,
        }
    }
}
