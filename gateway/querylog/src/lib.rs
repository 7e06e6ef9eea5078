//! The durable query log: what was asked, by whom, about whom, why, and what came back or why not.
//!
//! Owns the log's files, their formats (`spec/query-log.md`), the one thread that writes them and
//! the keys under which fields are sealed (`spec/keys.md`). It must never hand out a [`Recorded`]
//! for an entry that is not durable, never write a subject identifier, a case, an operator or a
//! verdict in clear, and never go on after a write or a sync has failed.
//!
//! ```text
//! ask ──► AskTicket ──► conclude ──► Recorded        one `ask`, exactly one closing entry
//! refuse ─────────────────────────► Recorded         one `refused`, no `ask`
//! coalesce                                           counted, one entry a window
//! ```
//!
//! The entry is made, hashed and sealed on the task that submits it. The writer thread only gives
//! it an index, writes it with whatever else queued while the last sync ran, and syncs once.

mod cipher;
mod coalesce;
mod compose;
mod disk;
mod entry;
mod erase;
mod fields;
mod find;
mod follow;
mod frame;
mod fsck;
mod handles;
mod headroom;
mod keys;
mod kind;
mod log;
mod options;
mod origin;
mod past;
mod promise;
mod publisher;
mod queue;
mod reader;
mod receipt;
mod recover;
mod rotate;
mod segments;
mod shared;
mod snapshot;
mod store;
mod ticket;
mod tree;
mod verify;
mod watch;
mod writer;

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod testing;

pub use coalesce::OTHER_CALLERS;
pub use disk::DiskFault;
pub use entry::{
    Details, ENTRY_BYTES_MAX, Entry, EntryFault, LeafHash, Pseudonym, epoch_of, leaf_hash,
};
pub use erase::{KeptInterval, NotErased};
pub use fields::{Field, FieldId, Fields, FieldsFault, SEALED_BYTES_MAX};
pub use find::{LeafFault, LeafInfo};
pub use fsck::{Fsck, FsckFault, fsck};
pub use jumpgate_tlog::VerifierKey;
pub use keys::{KeyFault, Keys};
pub use kind::{Act, Kind};
pub use log::{InitFault, OpenFault, Opened, PastClosing, PastOutcome, QueryLog, StartDetails};
pub use options::{AskMode, LogOptions, NowMs, OptionsFault};
pub use origin::OriginFault;
pub use past::{PastEntry, SnapshotUnkept};
pub use promise::{Promise, PromiseFault};
pub use reader::{ReadFault, Reader, Record, Sealer};
pub use receipt::{BrokenPromise, Proven, Receipt, ReceiptFault};
pub use rotate::{NotRotatable, Rotatable, RotateFault, rotate};
pub use shared::{Health, LogUnavailable, Metrics};
pub use ticket::{AskHeader, AskTicket, Closing, Digests, Recorded, RefusedHeader, SubjectRef};
pub use tree::{Published, TreeFault};
pub use verify::{Flaw, Report, verify};
