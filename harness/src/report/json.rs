//! The recording for machines: schema 2, described in docs/report.md and docs/recording.schema.json.

use std::io::Write;

use schemars::generate::SchemaSettings;

use crate::recording::Recording;
use crate::recording::mutation::Mutation;

/// Writes the recording, with a newline at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, recording)?;
    writeln!(out)
}

/// Writes what became of mutants, with a newline at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn write_mutation(mutation: &Mutation, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, mutation)?;
    writeln!(out)
}

/// Writes the JSON Schema of a recording, made from its types: of what is written, so that whatever is always there is required.
///
/// # Errors
///
/// Those of `out`.
pub fn write_schema(out: &mut dyn Write) -> std::io::Result<()> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Recording>();
    schema.insert("title".to_owned(), "The report of unwind-harness".into());
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    writeln!(out)
}
