//! Vendor extensions under type 80: a length, then tag, length and value triples.

/// One extension as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Everything behind the length.
    pub raw: Box<[u8]>,
}

/// One value of a [`Vendor`] extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub tag: u16,
    pub value: &'a [u8],
}

impl Vendor {
    /// The tags in order, or `None` where the content does not consist of whole tags.
    pub fn tags(&self) -> Option<Vec<Tag<'_>>> {
        tags(&self.raw)
    }
}

pub(super) fn tags(mut raw: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    while !raw.is_empty() {
        let (tag, rest) = next(raw)?;
        tags.push(tag);
        raw = rest;
    }
    Some(tags)
}

/// Whether `raw` consists of whole tags, at least one. No tag is 0: that is what a unit filled with zeros would hold.
pub(super) fn holds_tags(mut raw: &[u8]) -> bool {
    if raw.is_empty() {
        return false;
    }
    while !raw.is_empty() {
        match next(raw) {
            Some((tag, rest)) if tag.tag != 0 => raw = rest,
            _ => return false,
        }
    }
    true
}

fn next(raw: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (&[high, low, length], rest) = raw.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(length))?;
    Some((Tag { tag: u16::from_be_bytes([high, low]), value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_tags_only() {
        assert_eq!(tags(&[0x27, 0x11, 1, 5]), Some(vec![Tag { tag: 0x2711, value: &[5] }]));
        assert!(tags(&[0x27, 0x11, 2, 5]).is_none() && !holds_tags(&[0x27]) && !holds_tags(&[]));
    }
}
