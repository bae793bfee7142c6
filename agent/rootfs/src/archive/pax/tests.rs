use super::*;

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[test]
fn records_are_cut_by_their_lengths() {
    // The value holds a line feed and what looks like another record.
    let value = b"\x01\n12 path=x/y\n";
    let data = [record("SCHILY.xattr.security.capability", value), record("path", b"a")].concat();
    let records = Records::read(&data).expect("sound records");
    assert_eq!(records.path.as_deref(), Some(&b"a"[..]));
    assert_eq!(records.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
}

#[test]
fn damaged_and_ambiguous_records_are_refused() {
    for data in [
        &b"x"[..],
        b"11 path=a\n",
        b"8 path=a\n",
        b"7 path=a\n",
        b"+9 path=a\n",
        b"10 pathxa\n",
        b"5 =a\n",
        b"8 path=\n",
        b"99999999999999999999 path=a\n",
        b"11 size=-1\n",
        b"10 path=a\n10 path=b\n",
        b"20 GNU.sparse.size=1\n",
        b"23 GNU.sparse.major=2\n",
    ] {
        assert!(Records::read(data).is_err(), "{}", data.escape_ascii());
    }
    assert!(Records::read(&record("path", b"a")).is_ok());
}

#[test]
fn what_would_be_lost_is_refused_by_name() {
    for key in ["SCHILY.acl.access", "SCHILY.fflags", "RHT.security.selinux", "GNU.sparse.offset"] {
        let problem = Records::read(&record(key, b"1")).err();
        assert!(
            matches!(&problem, Some(Problem::Unsupported(named)) if named == key),
            "{problem:?}"
        );
    }
    for key in IGNORED {
        assert!(Records::read(&record(key, b"1")).is_ok(), "{key}");
    }
    assert!(check_global(&record("comment", b"0123abcd")).is_ok());
    assert!(check_global(&record("size", b"0")).is_err());
}

#[test]
fn both_encodings_of_an_attribute_have_to_agree() {
    let plain = record("SCHILY.xattr.user.a b", b"\0\x01");
    let encoded = |value: &[u8]| record("LIBARCHIVE.xattr.user.a%20b", value);
    let read = |data: Vec<u8>| Records::read(&data).map(|records| records.xattrs);
    let expected = vec![(b"user.a b".to_vec(), b"\0\x01".to_vec())];
    assert_eq!(read([&plain[..], &encoded(b"AAE")].concat()).expect("agree"), expected);
    assert_eq!(read(encoded(b"AAE=")).expect("alone"), expected);
    assert!(read([&plain[..], &encoded(b"AAI")].concat()).is_err());
    assert!(read(encoded(b"AAE*")).is_err());
}

#[test]
fn times_have_nanoseconds_on_both_sides_of_1970() {
    let read = |text: &str| time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
    assert_eq!(read("12"), Some((12, 0)));
    assert_eq!(read("12.000000001"), Some((12, 1)));
    assert_eq!(read("12.5000000019"), Some((12, 500_000_001)));
    assert_eq!(read("-1.25"), Some((-2, 750_000_000)));
    assert_eq!(read("-3"), Some((-3, 0)));
    for text in ["", "-", ".5", "1.", "1.x", "1e3", " 1"] {
        assert_eq!(read(text), None, "{text:?}");
    }
}
