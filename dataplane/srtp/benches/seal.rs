//! Nanoseconds per packet for sealing and opening, one core, warm caches.
//!
//! Run with `cargo bench -p whitewater-srtp`. Each figure is the best of eleven rounds over a
//! hundred keys taken in turn, as a fan-out to a hundred viewers would use them. The in-place row
//! copies first and then seals where the copy lies, the way to do without a one-pass call.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use whitewater_srtp::{MasterKey, Profile, SrtpOpener, SrtpSealer};

const KEY_COUNT: usize = 100;
const ROUND_COUNT: usize = 11;
const PACKETS_PER_ROUND: u64 = 40_000;
const SSRC: u32 = 0x1234_5678;

fn main() {
    for payload_len in [1180, 180] {
        let payload = vec![0x5a; payload_len];
        println!("{payload_len} bytes of payload");
        for profile in [
            Profile::AeadAes128Gcm,
            Profile::AeadAes256Gcm,
            Profile::Aes128CmSha1_80,
        ] {
            println!("  {profile:?}: seal {:.0} ns", seal(profile, &payload));
            let both = seal_and_open(profile, &payload);
            println!("  {profile:?}: seal and open {both:.0} ns");
        }
        println!(
            "  copy, then AES-128-GCM in place: {:.0} ns",
            copy_then_in_place(&payload)
        );
    }
}

fn masters(profile: Profile) -> Vec<MasterKey> {
    let key = |n: usize| {
        let salt = vec![3; profile.salt_len()];
        MasterKey::new(profile, &vec![n as u8; profile.key_len()], &salt).expect("exact lengths")
    };
    (0..KEY_COUNT).map(key).collect()
}

fn header(index: u64) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x90;
    header[1] = 96;
    header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    header[8..12].copy_from_slice(&SSRC.to_be_bytes());
    header[12..16].copy_from_slice(&[0xbe, 0xde, 0, 1]);
    header
}

fn seal(profile: Profile, payload: &[u8]) -> f64 {
    let sealers: Vec<_> = masters(profile)
        .iter()
        .map(|key| SrtpSealer::new(key).expect("valid key"))
        .collect();
    let mut out = vec![0; 1500];
    let mut index = 0;
    best_of(|| {
        let sealer = &sealers[index as usize % KEY_COUNT];
        let sealed = sealer.seal(&header(index), payload, SSRC, index, &mut out);
        black_box(sealed.expect("room for the packet"));
        index += 1;
    })
}

fn seal_and_open(profile: Profile, payload: &[u8]) -> f64 {
    let master = &masters(profile)[0];
    let sealer = SrtpSealer::new(master).expect("valid key");
    let mut opener = SrtpOpener::new(master).expect("valid key");
    let mut sealed = vec![0; 1500];
    let mut out = vec![0; 1500];
    let mut index = 0;
    best_of(|| {
        let len = sealer.seal(&header(index), payload, SSRC, index, &mut sealed);
        let len = len.expect("room for the packet");
        black_box(
            opener
                .open(&sealed[..len], &mut out)
                .expect("authentic and fresh"),
        );
        index += 1;
    })
}

fn copy_then_in_place(payload: &[u8]) -> f64 {
    let keys: Vec<_> = (0..KEY_COUNT)
        .map(|n| UnboundKey::new(&AES_128_GCM, &[n as u8; 16]).expect("exact length"))
        .map(LessSafeKey::new)
        .collect();
    let mut out = vec![0; 1500];
    let mut index = 0_u64;
    best_of(|| {
        let header = header(index);
        let mut iv = [0; 12];
        iv[4..].copy_from_slice(&index.to_be_bytes());
        let (clear, rest) = out.split_at_mut(header.len());
        let (body, tail) = rest.split_at_mut(payload.len());
        clear.copy_from_slice(&header);
        body.copy_from_slice(payload);
        let nonce = Nonce::assume_unique_for_key(iv);
        let key = &keys[index as usize % KEY_COUNT];
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), body);
        tail[..16].copy_from_slice(tag.expect("valid key").as_ref());
        black_box(&out);
        index += 1;
    })
}

fn best_of(mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..PACKETS_PER_ROUND {
            work();
        }
        start.elapsed().as_nanos() as f64 / PACKETS_PER_ROUND as f64
    };
    (0..ROUND_COUNT)
        .map(|_| round(&mut work))
        .fold(f64::INFINITY, f64::min)
}
