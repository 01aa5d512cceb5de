//! JSON Web Tokens signed with key pairs, their keys in files.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use whitewater_control::Config;

use crate::bearer::{ask, assert_challenge, post};
use crate::issuer::{ALGORITHMS, Signer, set};
use crate::scratch::Scratch;
use crate::token::{SECRET, claims, encode, sign, sign_as, token, unix_now};
use crate::world::World;

async fn with_keys(scratch: &Scratch, text: &str) -> World {
    let path = scratch.write("keys", text);
    World::with(|config| config.auth.key_files = vec![path]).await
}

async fn status(world: &World, token: &str) -> u16 {
    ask(world, "GET", "/api/streams", token, "")
        .await
        .status
        .as_u16()
}

fn good() -> String {
    claims("*", 7, 600, "")
}

#[tokio::test]
async fn w_aut_2_tokens_of_every_kind_of_key_are_taken() {
    let scratch = Scratch::new();
    let signers: Vec<Signer> = ALGORITHMS.iter().map(|name| Signer::new(name)).collect();
    let names: Vec<String> = (0..signers.len()).map(|n| format!("key-{n}")).collect();
    let keys: Vec<Value> = signers
        .iter()
        .zip(&names)
        .map(|(signer, name)| signer.jwk(name))
        .collect();
    let by_set = with_keys(&scratch, &set(&keys)).await;
    for ((signer, name), algorithm) in signers.iter().zip(&names).zip(ALGORITHMS) {
        let named = signer.sign(Some(name), &good());
        assert_eq!(status(&by_set, &named).await, 200, "{algorithm}");
        let unnamed = signer.sign(None, &good());
        assert_eq!(status(&by_set, &unnamed).await, 200, "{algorithm}");
        let elsewhere = signer.sign(Some("key-x"), &good());
        assert_eq!(status(&by_set, &elsewhere).await, 401, "{algorithm}");
    }
    let pems: String = signers.iter().map(Signer::pem).collect();
    let by_pem = with_keys(&scratch, &pems).await;
    for (signer, algorithm) in signers.iter().zip(ALGORITHMS) {
        for kid in [None, Some("whatever")] {
            let token = signer.sign(kid, &good());
            assert_eq!(status(&by_pem, &token).await, 200, "{algorithm}");
        }
        let stranger = Signer::new(algorithm).sign(None, &good());
        assert_eq!(status(&by_pem, &stranger).await, 401, "{algorithm}");
    }
    // A token's rights do not depend on who signed it.
    let narrow = signers[0].sign(None, &claims("a", 4, 600, ""));
    ask(&by_pem, "GET", "/api/streams", &narrow, "")
        .await
        .problem(403);
    post(&by_pem, "/whep/a", &narrow).await;
}

#[tokio::test]
async fn attack_21_the_kind_of_key_says_the_algorithm_and_not_the_token() {
    let scratch = Scratch::new();
    let (rsa, ec, ed) = (
        Signer::new("RS256"),
        Signer::new("ES256"),
        Signer::new("EdDSA"),
    );
    let keys = [rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk("ed")];
    let path = scratch.write("keys", &set(&keys));
    let world = World::with(|config| {
        config.auth.key_files = vec![path];
        config.auth.secret = SECRET.into();
    })
    .await;
    assert_eq!(status(&world, &rsa.sign(Some("rsa"), &good())).await, 200);
    let mut forged = Vec::new();
    // What everybody may know of a key, as the secret of an HMAC.
    for (signer, kid) in [(&rsa, "rsa"), (&ec, "ec"), (&ed, "ed")] {
        let jwk = signer.jwk(kid);
        let pem = signer.pem();
        let publics = [pem.clone(), pem.trim().to_owned(), jwk.to_string()];
        let parts = ["n", "x"].iter().filter_map(|part| jwk[part].as_str());
        for secret in publics.iter().map(String::as_str).chain(parts) {
            for kid in ["", &format!(r#","kid":"{kid}""#)] {
                let header = format!(r#"{{"alg":"HS256"{kid}}}"#);
                forged.push(sign_as(&header, &good(), hmac::HMAC_SHA256, secret));
            }
        }
    }
    // Rightly signed, wrongly named.
    for (signer, kid, algorithm) in [
        (&rsa, "rsa", "RS384"),
        (&rsa, "rsa", "PS256"),
        (&rsa, "rsa", "ES256"),
        (&rsa, "ec", "RS256"),
        (&ec, "ec", "ES384"),
        (&ec, "ec", "RS256"),
        (&ec, "ec", "HS256"),
        (&ed, "ed", "ES256"),
        (&ed, "ed", "none"),
        (&ed, "rsa", "EdDSA"),
    ] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        forged.push(signer.sign_as(&header, &good()));
    }
    for algorithm in ["none", "NONE", "nOnE", ""] {
        for kid in ["rsa", "ec", "ed"] {
            let header = encode(format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#).as_bytes());
            forged.push(format!("{header}.{}.", encode(good().as_bytes())));
        }
    }
    // A key that comes with the token is nobody's.
    let own = Signer::new("ES256");
    let header = json!({"alg": "ES256", "jwk": own.jwk("ec"), "kid": "ec"}).to_string();
    forged.push(own.sign_as(&header, &good()));
    let header = json!({"alg": "ES256", "jku": "http://127.0.0.1:1/keys"}).to_string();
    forged.push(own.sign_as(&header, &good()));
    // ECDSA of nothing, and in the other encoding.
    let signed = format!(
        "{}.{}",
        encode(br#"{"alg":"ES256","kid":"ec"}"#),
        encode(good().as_bytes())
    );
    forged.push(format!("{signed}.{}", encode(&[0; 64])));
    forged.push(format!("{signed}.{}", encode(&[0x30, 6, 2, 1, 1, 2, 1, 1])));
    for token in forged {
        let reply = ask(&world, "GET", "/api/streams", &token, "").await;
        assert_challenge(&reply, 401, "invalid_token");
    }
}

#[tokio::test]
async fn attack_21_a_token_that_is_too_early_too_late_or_for_another_stream_opens_nothing() {
    let scratch = Scratch::new();
    let signer = Signer::new("ES256");
    let world = with_keys(&scratch, &signer.pem()).await;
    let soon = |more: String| claims("*", 7, 600, &more);
    let now = unix_now();
    for (claims, wanted) in [
        (good(), 200),
        (claims("*", 7, -61, ""), 401),
        (soon(format!(r#","nbf":{}"#, now + 120)), 401),
        (soon(format!(r#","nbf":{}"#, now + 30)), 200),
        (claims("other", 7, 600, ""), 403),
    ] {
        let token = signer.sign(None, &claims);
        assert_eq!(status(&world, &token).await, wanted, "{claims}");
    }
    let other = signer.sign(None, &claims("other", 7, 600, ""));
    for path in ["/whip/a", "/whep/a"] {
        ask(&world, "POST", path, &other, "").await.problem(403);
    }
}

#[tokio::test]
async fn issuer_audience_and_leeway_are_as_configured() {
    let ask_with = async |configure: fn(&mut Config), more: &str, seconds: i64| {
        let world = World::with(|config| {
            config.auth.secret = SECRET.into();
            configure(config);
        })
        .await;
        status(&world, &sign(&claims("*", 7, seconds, more))).await
    };
    let nobody = |_: &mut Config| {};
    let named = |config: &mut Config| {
        config.auth.issuers = vec!["https://id.example".into(), "b".into()];
        config.auth.audiences = vec!["whitewater".into(), "w2".into()];
    };
    let issuer = r#","iss":"https://id.example""#;
    let audience = r#","aud":"whitewater""#;
    for (more, wanted) in [
        (format!("{issuer}{audience}"), 200),
        (format!(r#","iss":"b"{audience}"#), 200),
        (format!(r#"{issuer},"aud":["x","w2"]"#), 200),
        (issuer.to_owned(), 401),
        (audience.to_owned(), 401),
        (format!(r#","iss":"https://id.example/"{audience}"#), 401),
        (format!(r#"{issuer},"aud":"Whitewater""#), 401),
        (format!(r#"{issuer},"aud":[]"#), 401),
        (format!(r#"{issuer},"aud":["x"]"#), 401),
        (format!(r#"{issuer},"aud":7"#), 401),
        (format!(r#","iss":["b"]{audience}"#), 401),
    ] {
        assert_eq!(ask_with(named, &more, 600).await, wanted, "{more}");
    }
    // RFC 7519 §4.1.3: what is meant for others is not for us, also where nothing is configured.
    assert_eq!(ask_with(nobody, audience, 600).await, 401);
    assert_eq!(ask_with(nobody, issuer, 600).await, 200);
    let strict = |config: &mut Config| config.auth.leeway = Duration::ZERO;
    assert_eq!(ask_with(strict, "", -5).await, 401);
    assert_eq!(ask_with(nobody, "", -5).await, 200);
}

#[tokio::test]
async fn a_key_file_is_read_again_and_a_broken_one_changes_nothing() {
    let scratch = Scratch::new();
    let (old, new) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let world = with_keys(&scratch, &old.pem()).await;
    let (by_old, by_new) = (old.sign(Some("1"), &good()), new.sign(Some("2"), &good()));
    assert_eq!(status(&world, &by_old).await, 200);
    assert_eq!(status(&world, &by_new).await, 401);
    scratch.write("keys", &set(&[old.jwk("1"), new.jwk("2")]));
    let opens = async |token: &str| status(&world, token).await == 200;
    world
        .until("the new key", async || opens(&by_new).await)
        .await;
    assert!(opens(&by_old).await);
    for broken in [
        "",
        "{",
        "{\"keys\":7}",
        "nonsense",
        "-----BEGIN PUBLIC KEY-----\nx",
    ] {
        scratch.write("keys", broken);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(opens(&by_old).await && opens(&by_new).await, "{broken}");
    }
    std::fs::remove_file(scratch.path("keys")).expect("it is there");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(opens(&by_old).await);
    scratch.write("keys", &set(&[new.jwk("2")]));
    world
        .until("the old key's end", async || !opens(&by_old).await)
        .await;
    assert!(opens(&by_new).await);
    // No key at all is no open door.
    scratch.write("keys", &set(&[]));
    world
        .until("the last key's end", async || !opens(&by_new).await)
        .await;
    world.get("/api/streams").await.problem(401);
    assert!(!opens(&token("*", 7, 600)).await);
}
