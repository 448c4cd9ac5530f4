//! The SFrame reader and validator, on sections that others made (`fixtures/sframe`) and on random bytes.

mod fixture;
mod gold;
mod malformed;
mod property;
mod rows;
