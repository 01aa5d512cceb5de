use super::*;

/// What is left out of this set, or why it is refused as a whole.
fn unusable(keys: &str) -> Result<Vec<&'static str>, &'static str> {
    let text = format!("{{\"keys\":[{keys}]}}");
    let keys = Keys::parse(text.as_bytes()).map_err(|why| why.0)?;
    Ok(keys.unusable.iter().map(|why| why.0).collect())
}

/// The key of RFC 7517 §A.1.
const EC: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
/// The key of RFC 8037 §A.2.
const ED: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
/// The modulus of RFC 7515 §A.2.1.
const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

#[test]
fn keys_of_the_standards_are_read() {
    let rsa = format!(r#""kty":"RSA","n":"{N}","e":"AQAB""#);
    for key in [EC, ED, &rsa] {
        for more in [
            "",
            r#","use":"sig""#,
            r#","key_ops":["sign","verify"]"#,
            r#","kid":"a","x5t":"b","more":{"a":[]}"#,
        ] {
            let text = format!("{{{key}{more}}}");
            assert_eq!(unusable(&text), Ok(vec![]), "{text}");
        }
    }
    let all = format!("{{{EC},\"kid\":\"1\"}},{{{ED}}},{{{rsa}}}");
    assert_eq!(unusable(&all), Ok(vec![]));
}

#[test]
fn weak_broken_and_other_keys_are_left_out() {
    let rsa = |n: &str, e: &str| format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#);
    // 1024 bits.
    let half = &N[..172];
    for (key, why) in [
        (rsa(half, "AQAB"), WEAK.0),
        (rsa(&N[..340], "AQAB"), WEAK.0),
        (rsa(&N.repeat(5), "AQAB"), WEAK.0),
        // An exponent of one makes every number its own signature; two is no RSA.
        (rsa(N, "AQ"), WEAK.0),
        (rsa(N, "Ag"), WEAK.0),
        (rsa(N, ""), BROKEN.0),
        (rsa("", "AQAB"), BROKEN.0),
        (rsa("=", "AQAB"), BROKEN.0),
        (r#"{"kty":"RSA"}"#.to_owned(), BROKEN.0),
        ("7".to_owned(), BROKEN.0),
        (r#"{"kty":7}"#.to_owned(), BROKEN.0),
        // Not on the curve, and with a coordinate of 31 bytes.
        (format!("{{{}}}", EC.replace("MKBC", "MKBD")), BROKEN.0),
        (format!("{{{}}}", EC.replace("qv7D4", "qv")), BROKEN.0),
        (format!("{{{}}}", ED.replace("HURo", "")), BROKEN.0),
        (
            format!(r#"{{{EC},"use":"enc"}}"#),
            "it is not for signatures",
        ),
        (
            format!(r#"{{{EC},"key_ops":["deriveKey"]}}"#),
            "it is not for signatures",
        ),
        (
            format!(r#"{{{EC},"alg":"HS256"}}"#),
            "its alg is none of its kind's",
        ),
        (
            format!(r#"{{{EC},"alg":"RS256"}}"#),
            "its alg is none of its kind's",
        ),
        (
            r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
            "it is a secret: auth.secret takes one",
        ),
        (
            format!("{{{}}}", EC.replace("P-256", "secp256k1")),
            "its kty or crv is not known",
        ),
        (
            format!("{{{}}}", ED.replace("Ed25519", "X25519")),
            "its kty or crv is not known",
        ),
    ] {
        assert_eq!(unusable(&key), Ok(vec![why]), "{key}");
        // It takes no other key with it.
        let both = format!("{key},{{{ED}}}");
        let keys = Keys::parse(format!("{{\"keys\":[{both}]}}").as_bytes()).expect("a set");
        assert_eq!(keys.usable.len(), 1);
    }
}

#[test]
fn a_key_is_for_the_algorithm_it_names_only() {
    let text = format!(r#"{{"keys":[{{"kty":"RSA","n":"{N}","e":"AQAB","alg":"PS384"}}]}}"#);
    let keys = Keys::parse(text.as_bytes()).expect("a set");
    let names: Vec<&str> = keys.usable[0]
        .checks
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, ["PS384"]);
}

#[test]
fn private_keys_other_texts_and_too_many_keys_are_refused() {
    assert_eq!(unusable(&format!(r#"{{{ED},"d":"AAAA"}}"#)), Err(PRIVATE.0));
    let many = vec![format!("{{{ED}}}"); KEYS_MAX];
    assert_eq!(unusable(&many.join(",")), Ok(vec![]));
    let many = vec![format!("{{{ED}}}"); KEYS_MAX + 1];
    assert!(unusable(&many.join(",")).is_err());
    for text in [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "hello",
        "\u{0}",
        "{\"keys\":{}}",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(Keys::parse(text.as_bytes()).is_err(), "{text}");
    }
    let text = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(Keys::parse(text.as_bytes()).err(), Some(PRIVATE));
    let text = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let keys = Keys::parse(text.as_bytes()).expect("a section");
    assert!(keys.usable.is_empty() && keys.unusable.len() == 1);
}

#[test]
fn a_key_has_one_print_however_it_is_written() {
    // The key of RFC 8037 §A.2 as SubjectPublicKeyInfo (RFC 8410 §4).
    let pem = "-----BEGIN PUBLIC KEY-----\n\
         MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
         -----END PUBLIC KEY-----\n";
    let print = |text: &str| {
        let keys = Keys::parse(text.as_bytes()).expect("keys");
        keys.usable.first().expect("one").print
    };
    assert_eq!(print(pem), print(&format!("{{\"keys\":[{{{ED}}}]}}")));
    assert_ne!(print(pem), print(&format!("{{\"keys\":[{{{EC}}}]}}")));
}
