//! The snapshot file: one consistent state at one log index.
//!
//! All integers are little-endian.
//!
//! ```text
//! "JACOSNP1"                                   8 bytes
//! format                                       u32
//! header length, header (protobuf), CRC32C     u32, bytes, u32
//! per section:
//!   name length, name                          u16, UTF-8
//!   entity count                               u64
//!   plain length, stored length                u64, u64
//!   stored bytes (LZ4 block), CRC32C of them   bytes, u32
//! SHA-256 of everything before                 32 bytes
//! ```
//!
//! Sections are compressed with LZ4 by `lz4_flex`: maintained, pure safe Rust, no dependencies in
//! block mode, and fast enough that taking a snapshot disturbs nothing. zstd packs tighter but its
//! encoder is C; DEFLATE in Rust (`miniz_oxide`) costs about ten times the processor time.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::entry::fixed;
use crate::pb::snapshot as pb;
use crate::reader::Reader;

/// The file version that [`encode_snapshot`] writes.
pub const SNAPSHOT_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"JACOSNP1";
const DIGEST_LEN: usize = 32;

/// No LZ4 block expands further than this, so a longer claim is a lie and allocates nothing.
const LZ4_RATIO_MAX: u64 = 255;
/// What an LZ4 block may add to that ratio for a very short input.
const LZ4_SLACK: u64 = 64;

/// What a snapshot says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The lowest feature level a reader of the sections needs.
    pub feature_level: u32,
    /// The cluster it belongs to.
    pub cluster_id: [u8; 16],
    /// The epoch of that cluster.
    pub epoch: u64,
    /// The last log entry the sections contain.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Raft ids that vote at `index`.
    pub voters: Vec<u64>,
    /// Raft ids that only follow at `index`.
    pub learners: Vec<u64>,
    /// BLAKE3 of the state at `index`.
    pub state_hash: [u8; 32],
}

/// All entities of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The entity type; at most 65,535 bytes.
    pub name: String,
    /// How many entities `body` holds.
    pub count: u64,
    /// Their encoding, plain.
    pub body: Vec<u8>,
}

/// A snapshot in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What it says about itself.
    pub header: SnapshotHeader,
    /// The state, in the order written.
    pub sections: Vec<Section>,
}

/// Writes a snapshot. Equal arguments give equal bytes.
///
/// # Errors
/// [`Error::TooLarge`] for a name over 65,535 bytes.
pub fn encode_snapshot(header: &SnapshotHeader, sections: &[Section]) -> Result<Vec<u8>, Error> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
    let section_count = u32::try_from(sections.len())
        .map_err(|_| Error::TooLarge { name: "table of sections".into() })?;
    let encoded = header_to_pb(header, section_count).encode_to_vec();
    let length =
        u32::try_from(encoded.len()).map_err(|_| Error::TooLarge { name: "header".into() })?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&encoded);
    out.extend_from_slice(&crc32c::crc32c(&encoded).to_le_bytes());
    for section in sections {
        write_section(&mut out, section)?;
    }
    let digest = Sha256::digest(&out);
    out.extend_from_slice(&digest);
    Ok(out)
}

/// Reads a snapshot, checking every checksum and length on the way.
///
/// Never panics, and allocates no more than 255 times the bytes given, whatever they are.
///
/// # Errors
/// Any [`Error`] that names what is wrong and where.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, Error> {
    let (header, section_count, mut reader) = open(bytes)?;
    let mut sections = Vec::new();
    for _ in 0..section_count {
        sections.push(read_section(&mut reader)?);
    }
    if !reader.is_at_end() {
        let reason = "bytes follow the last section";
        return Err(Error::Malformed { offset: reader.offset(), reason });
    }
    Ok(Snapshot { header, sections })
}

/// Checks the digest over the whole file and reads the header, without unpacking the sections.
///
/// # Errors
/// As [`decode_snapshot`], except for contradictions inside sections.
pub fn verify_snapshot(bytes: &[u8]) -> Result<SnapshotHeader, Error> {
    open(bytes).map(|(header, _, _)| header)
}

fn open(bytes: &[u8]) -> Result<(SnapshotHeader, u32, Reader<'_>), Error> {
    if !bytes.starts_with(MAGIC) {
        return Err(Error::Magic);
    }
    let mut front = Reader::new(bytes);
    front.take("magic number", MAGIC.len() as u64)?;
    // The version comes before the digest, so that a newer file is named as such.
    let format = front.u32("format")?;
    if format != SNAPSHOT_FORMAT {
        let supported = SNAPSHOT_FORMAT;
        return Err(Error::UnknownFormat { what: "snapshot", found: format, supported });
    }
    let truncated = Error::Truncated { what: "digest", offset: front.offset(), len: bytes.len() };
    let body_len = bytes.len().checked_sub(DIGEST_LEN).ok_or(truncated)?;
    let (body, digest) = bytes.split_at(body_len);
    if Sha256::digest(body).as_slice() != digest {
        return Err(Error::Checksum { what: "whole file", offset: 0 });
    }
    let mut reader = Reader::new(body);
    reader.take("magic number and format", front.offset() as u64)?;
    let (header, section_count) = read_header(&mut reader)?;
    Ok((header, section_count, reader))
}

fn read_header(reader: &mut Reader<'_>) -> Result<(SnapshotHeader, u32), Error> {
    let length = reader.u32("header length")?;
    let offset = reader.offset();
    let encoded = reader.take("header", length.into())?;
    if reader.u32("header checksum")? != crc32c::crc32c(encoded) {
        return Err(Error::Checksum { what: "header", offset });
    }
    let header = pb::SnapshotHeader::decode(encoded)
        .map_err(|source| Error::Envelope { what: "snapshot header", source })?;
    let section_count = header.section_count;
    Ok((header_from_pb(header)?, section_count))
}

fn write_section(out: &mut Vec<u8>, section: &Section) -> Result<(), Error> {
    let name_len = u16::try_from(section.name.len())
        .map_err(|_| Error::TooLarge { name: section.name.clone() })?;
    let stored = lz4_flex::block::compress(&section.body);
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(section.name.as_bytes());
    out.extend_from_slice(&section.count.to_le_bytes());
    out.extend_from_slice(&(section.body.len() as u64).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    out.extend_from_slice(&stored);
    out.extend_from_slice(&crc32c::crc32c(&stored).to_le_bytes());
    Ok(())
}

fn read_section(reader: &mut Reader<'_>) -> Result<Section, Error> {
    let name_len = reader.u16("section name length")?;
    let name_offset = reader.offset();
    let name = std::str::from_utf8(reader.take("section name", name_len.into())?)
        .map_err(|_| Error::Malformed { offset: name_offset, reason: "a name is not UTF-8" })?;
    let count = reader.u64("entity count")?;
    let plain_len = reader.u64("plain length")?;
    let stored_len = reader.u64("stored length")?;
    let offset = reader.offset();
    let stored = reader.take("section", stored_len)?;
    if reader.u32("section checksum")? != crc32c::crc32c(stored) {
        return Err(Error::Checksum { what: "section", offset });
    }
    let body = unpack(stored, stored_len, plain_len, offset)?;
    Ok(Section { name: name.to_owned(), count, body })
}

fn unpack(stored: &[u8], stored_len: u64, plain_len: u64, offset: usize) -> Result<Vec<u8>, Error> {
    let limit = stored_len.saturating_mul(LZ4_RATIO_MAX).saturating_add(LZ4_SLACK);
    let malformed = |reason| Error::Malformed { offset, reason };
    if plain_len > limit {
        return Err(malformed("the plain length is beyond what LZ4 can reach"));
    }
    let plain_len = usize::try_from(plain_len)
        .map_err(|_| malformed("the plain length does not fit this machine"))?;
    let body = lz4_flex::block::decompress(stored, plain_len)
        .map_err(|_| malformed("a section does not decompress"))?;
    if body.len() != plain_len {
        return Err(malformed("a section has another length than it says"));
    }
    Ok(body)
}

fn header_to_pb(header: &SnapshotHeader, section_count: u32) -> pb::SnapshotHeader {
    pb::SnapshotHeader {
        feature_level: header.feature_level,
        cluster_id: header.cluster_id.to_vec(),
        epoch: header.epoch,
        index: header.index,
        term: header.term,
        voters: header.voters.clone(),
        learners: header.learners.clone(),
        state_hash: header.state_hash.to_vec(),
        section_count,
    }
}

fn header_from_pb(header: pb::SnapshotHeader) -> Result<SnapshotHeader, Error> {
    Ok(SnapshotHeader {
        feature_level: header.feature_level,
        cluster_id: fixed("cluster_id", &header.cluster_id)?,
        epoch: header.epoch,
        index: header.index,
        term: header.term,
        voters: header.voters,
        learners: header.learners,
        state_hash: fixed("state_hash", &header.state_hash)?,
    })
}
