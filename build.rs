//! Builds again when a migration is added: the compiler does not see new files on its own.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
