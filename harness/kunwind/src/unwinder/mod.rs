//! Unwinders that belong to no kernel: the walk along frame records, the walk by a table of rows, and a kernel's walk
//! of a user stack. None of them knows a CPU by name: the [`Abi`](crate::Abi) says what differs.

mod frame_record;
mod table;
mod user;

pub use frame_record::FrameRecordUnwinder;
pub use table::TableUnwinder;
pub use user::UnwindUser;
