//! What is printed can be read, by people and by the server.

use super::*;

#[test]
fn printed_configuration_is_loaded_back_unchanged() {
    let mut file = String::new();
    for section in SECTIONS {
        file += &format!("[{}]\n", section.name);
        // Masked values cannot come back; `ice.servers` has none here.
        let keys = KEYS.iter().filter(|key| key.section == section.name);
        for key in keys.filter(|key| !key.secret || key.name == "servers") {
            file += &format!("{} = {}\n", key.name, other_value(key));
        }
    }
    for file in ["", &file] {
        let first = from_file(file);
        let second = from_file(&effective(&first));
        assert_eq!(first.config, second.config);
    }
}

#[test]
fn printed_configuration_documents_each_key() {
    let printed = effective(&load_all("", &[], &[("media.shards", "3")]).unwrap());
    for key in Key::all() {
        let names = [
            format!("# Environment: {}\n", key.environment()),
            format!("# Default: {}\n", default_of(key)),
            format!("\n{} = ", key.name),
            format!("#{}\n", key.doc[0]),
        ];
        for name in names {
            assert!(printed.contains(&name), "{}: {name}", key.path());
        }
    }
    assert!(
        printed.contains("# Set by: flag --set\nshards = 3\n"),
        "{printed}"
    );
    assert!(printed.contains("# Flag: --udp\n# Set by: default\nudp = \"0.0.0.0:7777\"\n"));
}

#[test]
fn reference_in_the_docs_is_the_printed_one() {
    let docs = include_str!("../../../docs/configuration.md");
    let hint =
        "docs/configuration.md is behind: whitewater config reference > docs/configuration.md";
    assert!(docs == reference(), "{hint}");
}

#[test]
fn example_of_the_reference_can_be_loaded() {
    let text = reference();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_ne!(from_file(example).config, Config::default());
}
