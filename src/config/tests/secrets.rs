//! Secrets are never shown.

use super::*;

const SECRETS: &str = r#"
[auth]
tokens = ["hush-token"]
secret = "hush-key"
[ice]
turn_secret = "hush-turn"
[[ice.servers]]
urls = ["turn:turn.example:3478"]
username = "user"
credential = "hush-credential"
"#;

#[test]
fn secrets_are_masked_wherever_they_are_shown() {
    let loaded = from_file(SECRETS);
    assert_eq!(loaded.config.auth.tokens[0].expose(), "hush-token");
    assert_eq!(loaded.config.auth.secret.expose(), "hush-key");
    assert_eq!(
        loaded.config.ice.servers[0].credential.expose(),
        "hush-credential"
    );
    let printed = effective(&loaded);
    for text in [
        &printed,
        &format!("{loaded:?}"),
        &loaded.config.auth.secret.to_string(),
    ] {
        assert!(text.contains(MASK) && !text.contains("hush"), "{text}");
    }
    assert!(printed.contains("tokens = [\"<masked>\"]"), "{printed}");
}

#[test]
fn secrets_are_masked_in_refusals() {
    for file in [
        "auth.secret = [\"hush\"]",
        "auth.tokens = [\"hush hush\"]",
        "auth.tokens = [\"\", \"hush\"]",
        "auth.token = \"hush\"",
        "auth = \"hush\"",
        "ice.servers = \"turn:user:hush@turn.example\"",
        "ice.servers = [{ urls = \"turn:user:hush@turn.example\" }]",
        "ice.servers = [{ urls = \"http://x\", credential = \"hush\" }]",
        "ice.servers = [{ urls = \"turn:x\", credential = \"hush\" }]",
        "ice.servers = [{ urls = \"turn:x\", username = \"u\", credential = [\"hush\"] }]",
        "ice.servers = [{ urls = \"turn:x\", credentials = \"hush\" }]",
        "ice_servers = [\"hush\"]",
        "http.allowed_origins = [\"https://user:hush@a.example\"]",
    ] {
        let text = refusal(file);
        assert!(!text.contains("hush"), "{file}: {text}");
    }
    let variables = [
        ("WHITEWATER_AUTH_TOKENS", "hush hush"),
        ("WHITEWATER_AUTH_TOKENS", "[\"hush"),
        ("WHITEWATER_ICE_SERVERS", "hush"),
    ];
    for variable in variables {
        let text = refusal_of(load_all("", &[variable], &[]));
        assert!(!text.contains("hush"), "{variable:?}: {text}");
    }
    let text = refusal_of(load_all("", &[], &[("auth.secret", "hush")]));
    assert!(
        text.contains("set it in the file or by WHITEWATER_AUTH_SECRET"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn printed_masks_are_refused_as_secrets() {
    let printed = effective(&from_file(SECRETS));
    let text = refusal(&printed);
    for key in [
        "auth.secret",
        "auth.tokens[0]",
        "ice.servers[0].credential",
        "ice.turn_secret",
    ] {
        assert!(text.contains(key), "{key}: {text}");
    }
    assert_eq!(text.matches("this is the mask").count(), 4, "{text}");
}
