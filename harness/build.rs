//! Recompiles the tests when a scenario is added: rstest's `#[files]` globs at compile time, and without this a new
//! scenario silently would not run.

fn main() {
    println!("cargo:rerun-if-changed=scenarios");
    println!("cargo:rerun-if-changed=harness/build.rs");
}
