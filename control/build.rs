//! Lists the files of the page for embedding: name and tag by content, in `assets_table.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let web = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("web");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", web.display());
    let mut table = String::from("&[\n");
    for (name, path) in files(&web)? {
        println!("cargo:rerun-if-changed={}", path.display());
        let mut hasher = DefaultHasher::new();
        fs::read(&path)?.hash(&mut hasher);
        let tag = hasher.finish();
        writeln!(
            table,
            "    Asset {{ name: {name:?}, etag: \"\\\"{tag:016x}\\\"\", bytes: include_bytes!({path:?}) }},",
        )
        .expect("a String takes everything");
    }
    table.push(']');
    fs::write(out.join("assets_table.rs"), table)
}

/// The files directly in `web` that a browser asks for, by name.
fn files(web: &PathBuf) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    if !web.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(web)? {
        let path = entry?.path();
        let served = path.extension().is_some_and(|ext| {
            ["html", "css", "js", "svg"]
                .iter()
                .any(|served| ext == *served)
        });
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && served
            && path.is_file()
        {
            files.insert(name.to_owned(), path.clone());
        }
    }
    Ok(files)
}
