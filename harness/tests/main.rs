//! All integration tests of the harness, as one executable: `cargo test --test integration scenarios::` runs one file of them.

mod atlas;
mod check;
mod cli;
mod completeness;
mod delivery;
mod detects;
mod direction;
mod edges;
mod elf_file;
mod findings;
mod large;
mod machine;
mod museum;
mod orc;
mod privilege;
mod scenarios;
mod seams;
mod sframe;
mod sframe_dump;
mod sframe_encode;
mod sframe_merge;
mod tidy;
mod truth;
mod unjudged;
mod whole_run;
