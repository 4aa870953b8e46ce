//! Every document is valid by the schema or the linter of those who read it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deployment::{deploy, document, documents, succeeds, text};

/// The oldest Kubernetes that knows everything that is used.
const OLDEST: &str = "1.30";

/// A tool that `make sdk` installed.
fn tool(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin").join(name);
    assert!(path.exists(), "{} is missing: `make sdk` installs it", path.display());
    Command::new(path)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(deploy(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

fn manifests() -> Vec<PathBuf> {
    files("kubernetes").into_iter().filter(|path| !path.ends_with("kustomization.yaml")).collect()
}

#[test]
fn kubernetes_takes_the_manifests_the_oldest_and_the_newest() {
    for version in [Some(OLDEST), None] {
        let mut validate = tool("kubernetes-validate");
        validate.arg("--strict").args(version.map(|version| ["-k", version]).into_iter().flatten());
        let said = succeeds(validate.args(manifests()));
        assert_eq!(said.matches(" passed for resource ").count(), count_of_resources(), "{said}");
    }
}

fn count_of_resources() -> usize {
    manifests().iter().map(|path| documents(&format!("kubernetes/{}", name(path))).len()).sum()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn compose_takes_its_file() {
    succeeds(tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(deploy("compose.yaml")));
}

#[test]
fn the_dockerfile_is_without_reproach() {
    succeeds(tool("hadolint").arg(deploy("Dockerfile")));
}

#[test]
fn the_kustomization_names_every_manifest_but_the_example_of_secrets() {
    let kustomization = document("kubernetes/kustomization.yaml");
    let list = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let mut named = list(&kustomization["resources"]);
    assert!(named.insert("secrets.example.yaml".to_owned()), "placeholders are not to be applied");
    assert_eq!(named, manifests().iter().map(|path| name(path)).collect());
    let generated = &kustomization["configMapGenerator"][0];
    assert_eq!(generated["name"], "runhook-rules");
    let rules: BTreeSet<String> =
        files("kubernetes/rules").iter().map(|path| format!("rules/{}", name(path))).collect();
    assert_eq!(list(&generated["files"]), rules);
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}

/// Which machine an image comes from is for whoever deploys it.
#[test]
fn no_image_names_a_registry() {
    let mut images = Vec::new();
    for path in ["Dockerfile", "compose.yaml", "kubernetes/ingest.yaml"] {
        let text = text(path);
        let named =
            text.lines().filter_map(|line| line.trim().strip_prefix("FROM ").or(line.trim().strip_prefix("image: ")));
        images.extend(named.map(|image| image.split(' ').next().unwrap().to_owned()));
    }
    assert!(images.len() >= 6, "{images:?}");
    for image in images {
        let first = image.split_once('/').map_or("", |(first, _)| first);
        assert!(!first.contains(['.', ':']), "{image}");
    }
}

/// What the build stage copies is all that a build reads, and gets through the ignore file.
#[test]
fn the_image_is_built_from_all_that_a_build_needs() {
    let dockerfile = text("Dockerfile");
    let copied: BTreeSet<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|rest| !rest.starts_with("--from"))
        .flat_map(|rest| rest.split(' ').rev().skip(1))
        .collect();
    let ignore = text("Dockerfile.dockerignore");
    assert_eq!(copied, ignore.lines().filter_map(|line| line.strip_prefix('!')).collect());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in &copied {
        assert!(root.join(path).exists(), "{path}");
    }
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("readme = \"README.md\"") && copied.contains("README.md"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "an older compiler does not build this");
    assert!(dockerfile.contains(&format!("runhook:{}", env!("CARGO_PKG_VERSION"))));
}
