//! The house's rule of layers: a module imports only from its own folder or from one above it.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. `tensor` and `tape` are one layer.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["memory"],
    &["backend"],
    &["tensor", "tape"],
    &["ops"],
    &["engine"],
    &["py"],
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable source tree") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn files() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(&root).expect("below src").to_path_buf();
            let module = inner.components().next().expect("a name").as_os_str();
            let module = module.to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("UTF-8 sources");
            (inner, module, text)
        })
        .collect()
}

/// The modules that a file names after `crate::`, outside comments.
fn imports(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn modules_import_only_from_above() {
    let mut wrong = Vec::new();
    for (path, module, text) in files() {
        let Some(own) = layer(&module) else { continue };
        for import in imports(&text) {
            if layer(&import).is_some_and(|other| other > own) {
                wrong.push(format!("{} uses crate::{import}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the layers:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn only_py_names_pyo3() {
    for (path, module, text) in files() {
        let named = text
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains("pyo3::"));
        assert!(!named || module == "py", "{} names pyo3", path.display());
    }
}

/// `unsafe` has its rooms: bytes, kernels, buffers shared with Python, Python's frames, and the tuple of
/// sizes (see docs/architecture.md for what the last two buy).
#[test]
fn unsafe_stays_in_its_rooms() {
    for (path, _, text) in files() {
        let name = path.to_string_lossy().into_owned();
        let room = name == "memory/storage.rs"
            || name.starts_with("backend/")
            || name == "py/numpy.rs"
            || name == "py/frame.rs"
            || name == "py/size.rs";
        let has = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//")
                && (line.contains("unsafe {")
                    || line.contains("unsafe fn")
                    || line.contains("unsafe impl"))
        });
        assert!(!has || room, "{name} contains unsafe code");
    }
}
