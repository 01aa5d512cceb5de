//! What the fuzz target checks; `/fuzz` calls it with libFuzzer's bytes.
//!
//! Panics when a property does not hold. The unit test at the end runs it over the committed seeds.

use std::collections::{BTreeMap, BTreeSet};

use crate::replay::WINDOW_LEN;
use crate::{
    MasterKey, OpenError, Profile, SealError, SrtcpOpener, SrtcpSealer, SrtpOpener, SrtpSealer,
};

/// Foreign bytes never open; own packets open once, whatever the order, and never tampered with.
///
/// The first byte picks the profile. The rest is tried as it is, and then read as a list of
/// four-byte operations: stream and kind, signed step of the index, length of the payload.
pub fn srtp_open(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let profile = match first % 3 {
        0 => Profile::AeadAes128Gcm,
        1 => Profile::AeadAes256Gcm,
        _ => Profile::Aes128CmSha1_80,
    };
    let key = vec![1; profile.key_len()];
    let master = MasterKey::new(profile, &key, &vec![2; profile.salt_len()]).unwrap();
    foreign(&master, rest);
    any_header(&master, rest);
    operations(&master, rest);
}

fn foreign(master: &MasterKey, bytes: &[u8]) {
    let mut out = vec![0; bytes.len()];
    assert!(
        SrtpOpener::new(master)
            .unwrap()
            .open(bytes, &mut out)
            .is_err()
    );
    assert!(
        SrtcpOpener::new(master)
            .unwrap()
            .open(bytes, &mut out)
            .is_err()
    );
}

/// The bytes as plaintext: what can be sealed opens to the same bytes.
fn any_header(master: &MasterKey, plaintext: &[u8]) {
    let mut sealed = vec![0; plaintext.len() + 32];
    let mut opened = vec![0; plaintext.len() + 32];
    match SrtcpSealer::new(master)
        .unwrap()
        .seal(plaintext, &mut sealed)
    {
        Ok(len) => {
            let result = SrtcpOpener::new(master)
                .unwrap()
                .open(&sealed[..len], &mut opened);
            if plaintext[0] >> 6 == 2 {
                assert_eq!(&opened[..result.unwrap()], plaintext);
            } else {
                assert_eq!(result, Err(OpenError::Malformed));
            }
        }
        Err(error) => assert_eq!(error, SealError::Malformed),
    }
    // Header and payload as the opener will divide them, if it can.
    let Some(fixed) = plaintext.get(..12) else {
        return;
    };
    let seq = u16::from_be_bytes([fixed[2], fixed[3]]);
    let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
    let mut header_len = 12 + 4 * usize::from(fixed[0] & 0x0f);
    if fixed[0] & 0x10 != 0 {
        let Some(words) = plaintext.get(header_len + 2..header_len + 4) else {
            return;
        };
        header_len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    let Some((header, payload)) = plaintext.split_at_checked(header_len) else {
        return;
    };
    let sealer = SrtpSealer::new(master).unwrap();
    let len = sealer
        .seal(header, payload, ssrc, seq.into(), &mut sealed)
        .unwrap();
    let result = SrtpOpener::new(master)
        .unwrap()
        .open(&sealed[..len], &mut opened);
    if fixed[0] >> 6 == 2 {
        assert_eq!(&opened[..result.unwrap()], plaintext);
    } else {
        assert_eq!(result, Err(OpenError::Malformed));
    }
}

fn operations(master: &MasterKey, list: &[u8]) {
    let sealer = SrtpSealer::new(master).unwrap();
    let mut opener = SrtpOpener::new(master).unwrap();
    let mut streams: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for operation in list.chunks_exact(4).take(200) {
        let ssrc = u32::from(operation[0] & 0x0f);
        let step = i64::from(i16::from_be_bytes([operation[1], operation[2]]));
        let seen = streams.entry(ssrc).or_default();
        let newest = seen.last().copied().unwrap_or(1000);
        let index = newest.saturating_add_signed(step);
        let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        header[8..].copy_from_slice(&ssrc.to_be_bytes());
        let payload = vec![0x33; usize::from(operation[3])];
        let (mut sealed, mut out) = ([0; 300], [0; 300]);
        let len = sealer
            .seal(&header, &payload, ssrc, index, &mut sealed)
            .unwrap();
        if operation[0] & 0x10 != 0 {
            sealed[len - 1 - usize::from(operation[3] % 10)] ^= 1;
            assert!(opener.open(&sealed[..len], &mut out).is_err());
            assert_eq!(opener.highest_index(ssrc), seen.last().copied());
            continue;
        }
        let result = opener.open(&sealed[..len], &mut out);
        if seen.is_empty() && index > 0xffff {
            assert_eq!(
                result,
                Err(OpenError::Unauthentic),
                "unknown rollover counter"
            );
        } else if index + WINDOW_LEN <= newest && !seen.is_empty() {
            assert_eq!(result, Err(OpenError::TooOld));
        } else if seen.insert(index) {
            assert_eq!(&out[12..result.unwrap()], &payload[..]);
        } else {
            assert_eq!(result, Err(OpenError::Replayed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn committed_seeds_hold() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/srtp_open");
        let seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let mut bytes = std::fs::read(seed.unwrap().path()).unwrap();
            for first in 0..3 {
                bytes[0] = first;
                super::srtp_open(&bytes);
            }
        }
    }
}
