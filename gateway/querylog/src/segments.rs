//! The folder `segments`: names, making and reading of segment files.
//!
//! A segment's name is the leaf index of its first entry. A named segment has a durable header and
//! its full size; the next one is prepared under another name.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFault, DiskFile};
use crate::frame::{Marks, SegmentHeader};

/// A segment file cannot be used.
#[derive(Debug)]
pub(crate) enum SegmentFault {
    Disk(DiskFault),
    Damaged { file: PathBuf, offset: u64, why: String },
}

impl From<DiskFault> for SegmentFault {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

/// A segment read whole.
pub(crate) struct Loaded {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
    pub path: PathBuf,
}

/// Where the segment that begins at `first_index` is.
pub(crate) fn path_of(dir: &Path, first_index: u64) -> PathBuf {
    dir.join(SEGMENTS_DIR).join(format!("{first_index:020}.seg"))
}

/// First indices of all segments, ascending. Files of other names are not looked at.
pub(crate) fn list(disk: &Disk, dir: &Path) -> Result<Vec<u64>, SegmentFault> {
    let folder = dir.join(SEGMENTS_DIR);
    let names = disk.list(&folder)?;
    let number = |name: &String| {
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
        digits.parse().ok()
    };
    let firsts: Vec<u64> = names.iter().filter_map(number).collect();
    // Of twenty digits the sorted names are the sorted numbers.
    if firsts.first() == Some(&0) {
        return Ok(firsts);
    }
    let why = "the log's first segment is missing".to_owned();
    Err(SegmentFault::Damaged { file: path_of(dir, 0), offset: 0, why })
}

/// Reads a segment whole and checks its header.
pub(crate) fn load(
    disk: &Disk,
    dir: &Path,
    log_id: u64,
    first_index: u64,
) -> Result<Loaded, SegmentFault> {
    let path = path_of(dir, first_index);
    let bytes = disk.open_read(&path)?.read_all(SEGMENT_BYTES_MAX)?;
    let why = match SegmentHeader::decode(&bytes) {
        None => "the segment header is damaged".to_owned(),
        Some(header) if header.log_id != log_id => "the segment belongs to another log".to_owned(),
        Some(header) if header.first_index != first_index => {
            format!("the segment begins at entry {}, not as its name says", header.first_index)
        }
        Some(header) if header.segment_bytes != bytes.len() as u64 => {
            let (is, was) = (bytes.len(), header.segment_bytes);
            format!("the file has {is} bytes and was made with {was}")
        }
        Some(header) => return Ok(Loaded { header, bytes, path }),
    };
    Err(SegmentFault::Damaged { file: path, offset: 0, why })
}

/// Makes the first segment of a new log.
pub(crate) fn create_first(
    disk: &Disk,
    dir: &Path,
    log_id: u64,
    segment_bytes: u64,
) -> Result<(), DiskFault> {
    disk.create_dir(&dir.join(SEGMENTS_DIR))?;
    let prepared = prepare(disk, dir, segment_bytes)?;
    let header = SegmentHeader { log_id, first_index: 0, segment_bytes, marks: Marks::default() };
    begin(prepared, dir, &header)?;
    Ok(())
}

/// Makes the next segment's file, full of zeros and synced, so that beginning it is quick.
pub(crate) fn prepare(disk: &Disk, dir: &Path, bytes: u64) -> Result<DiskFile, DiskFault> {
    let path = dir.join(SEGMENTS_DIR).join(PREPARED_FILE);
    // Left by a process that ended; its size may be another.
    disk.remove(&path)?;
    let file = disk.create_new(&path)?;
    file.fill_with_zeros(0, bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Turns a prepared file into a segment. A crash before the rename leaves the prepared file, one
/// after it an empty segment; the header is durable before the name.
pub(crate) fn begin(
    mut file: DiskFile,
    dir: &Path,
    header: &SegmentHeader,
) -> Result<DiskFile, DiskFault> {
    file.write_at(&header.encode(), 0)?;
    file.sync()?;
    let path = path_of(dir, header.first_index);
    file.disk().rename(file.path(), &path)?;
    file.renamed(path);
    file.disk().sync_dir(&dir.join(SEGMENTS_DIR))?;
    Ok(file)
}

pub(crate) const SEGMENTS_DIR: &str = "segments";
const PREPARED_FILE: &str = "next.tmp";
/// The largest `segment_bytes` that options allow, plus one byte, so that a longer file is noticed.
const SEGMENT_BYTES_MAX: u64 = (1 << 30) + 1;
