//! JSON fields into a byte buffer, numbers from scaled integers: no formatter, no allocation.

pub(super) fn text(out: &mut Vec<u8>, prefix: &[u8], value: &str) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(value.as_bytes());
}

/// `value / 10^decimals`
pub(super) fn number(out: &mut Vec<u8>, prefix: &[u8], value: i64, decimals: u32) {
    out.extend_from_slice(prefix);
    if value < 0 {
        out.push(b'-');
    }
    let scale = 10u64.pow(decimals);
    padded(out, value.unsigned_abs() / scale, 1);
    if decimals > 0 {
        out.push(b'.');
        padded(out, value.unsigned_abs() % scale, decimals as usize);
    }
}

/// At least `width` digits, zeros in front.
pub(super) fn padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        if value == 0 && used >= width {
            break;
        }
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
    }
    out.extend_from_slice(&digits[digits.len() - used..]);
}
