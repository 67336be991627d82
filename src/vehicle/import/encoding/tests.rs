use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Hands out a few bytes at a time, so that characters are cut.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(target.len()).min(self.0.len());
        let (now, later) = self.0.split_at(length);
        target[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

fn inspected(bytes: &[u8]) -> Result<Inspected, EncodingError> {
    let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
    file.write_all(bytes).expect("written");
    inspect(file.path()).expect("readable")
}

fn encoding_of(bytes: &[u8]) -> TextEncoding {
    match inspected(bytes).expect("a text").form {
        Form::Text(encoding) => encoding,
        Form::Workbook => panic!("a workbook"),
    }
}

#[test]
fn forms_are_told_apart_by_their_bytes() {
    let text = "plate,plate_color\n鲁C12345,yellow\n粤B54321,blue\n";
    let doubt = |bytes: &[u8]| inspected(bytes).expect("a text").doubt;
    assert_eq!((encoding_of(text.as_bytes()), doubt(text.as_bytes())), (TextEncoding::Utf8, Some(Leaning::Utf8)));
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    assert_eq!((encoding_of(&marked), doubt(&marked)), (TextEncoding::Utf8, None), "a mark leaves no doubt");
    assert_eq!(doubt(b"plate\n"), None, "nor does plain ASCII");
    let gbk = GB18030.encode("plate\n第二运输公司\n").0;
    assert_eq!((encoding_of(&gbk), doubt(&gbk)), (TextEncoding::Gbk, Some(Leaning::Gbk)));
    let both = GB18030.encode("plate\n鲁C12345\n").0;
    assert_eq!(doubt(&both), Some(Leaning::Neither));
    let mut damaged = text.repeat(50).into_bytes();
    damaged.extend(b"\xc2\xb3,\xff\n");
    assert_eq!(encoding_of(&damaged), TextEncoding::Utf8);
    for (encoding, mark, units) in [
        (TextEncoding::Utf16Le, [0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]),
        (TextEncoding::Utf16Be, [0xfe, 0xff], u16::to_be_bytes),
    ] {
        let bare: Vec<u8> = text.encode_utf16().flat_map(units).collect();
        assert_eq!(encoding_of(&bare), encoding);
        assert_eq!(encoding_of(&[&mark[..], &bare].concat()), encoding);
    }
    assert_eq!(inspected(b"PK\x03\x04....").map(|found| found.form), Ok(Form::Workbook));
    let file = inspected(text.as_bytes()).expect("a text");
    assert_eq!((file.lines, file.bytes), (3, text.len() as u64));
    assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
    for (text, lines) in [("a\rb\rc", 3), ("a\r\nb\r\n", 2), ("a\n\rb", 3), ("", 0)] {
        assert_eq!(inspected(text.as_bytes()).expect("a text").lines, lines, "{text:?}");
    }
}

#[test]
fn other_files_are_called_by_their_name() {
    let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // The name stands where two blocks meet.
    let encrypted = [&ole[..], &vec![0; 64 * 1024 - 20], &name].concat();
    for (bytes, foreign) in [
        (&ole[..], Foreign::OldWorkbook),
        (&encrypted, Foreign::EncryptedWorkbook),
        (b"\xff\xfe\0\0p\0\0\0", Foreign::Utf32),
        (b"%PDF-1.7", Foreign::Pdf),
        (b"\xef\xbb\xbf  <HTML><table>", Foreign::Html),
        (
            b"<?xml version='1.0'?><Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'>",
            Foreign::XmlSpreadsheet,
        ),
        (b"\x1f\x8b\x08", Foreign::Compressed),
    ] {
        let error = inspected(bytes).expect_err("no table");
        assert_eq!(error, EncodingError::Foreign(foreign));
        assert!(error.to_string().contains("; "), "it says what to do: {error}");
    }
}

proptest! {
    #[test]
    fn decoding_survives_any_cut(text in "[ -~鲁京沪挂学黄蓝\r\n]{0,400}", step in 1usize..7, gbk: bool, bom: bool) {
        let (encoding, mut bytes) = if gbk {
            (TextEncoding::Gbk, GB18030.encode(&text).0.into_owned())
        } else {
            (TextEncoding::Utf8, text.clone().into_bytes())
        };
        if bom && !gbk {
            bytes.splice(0..0, *b"\xef\xbb\xbf");
        }
        let mut decoded = String::new();
        Decoded::new(Dripping(&bytes, step), encoding).read_to_string(&mut decoded).expect("text");
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        prop_assert_eq!(decoded, text + end);
    }

    #[test]
    fn any_bytes_decode_to_text(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..9, gbk: bool) {
        let encoding = if gbk { TextEncoding::Gbk } else { TextEncoding::Utf8 };
        let mut decoded = String::new();
        prop_assert!(Decoded::new(Dripping(&bytes, step), encoding).read_to_string(&mut decoded).is_ok());
    }

    #[test]
    fn any_text_is_seen_as_utf8(text in "\\PC{0,200}") {
        let Ok(found) = inspected(text.as_bytes()) else { return Ok(()) };
        prop_assert_eq!(found.form, Form::Text(TextEncoding::Utf8));
    }
}
