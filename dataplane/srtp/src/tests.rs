//! Published vectors, round trips, and everything a peer may try.

use proptest::prelude::*;

use crate::kdf::{Label, counter_mode, derive};
use crate::replay::{SSRC_COUNT_MAX, WINDOW_LEN};
use crate::transform::{RtpParts, Transform};
use crate::*;

const PROFILES: [Profile; 3] = [
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
    Profile::Aes128CmSha1_80,
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn master(profile: Profile, fill: u8) -> MasterKey {
    let key = vec![fill; profile.key_len()];
    MasterKey::new(profile, &key, &vec![fill ^ 0xff; profile.salt_len()]).unwrap()
}

fn pair(profile: Profile) -> (SrtpSealer, SrtpOpener) {
    let master = master(profile, 7);
    (
        SrtpSealer::new(&master).unwrap(),
        SrtpOpener::new(&master).unwrap(),
    )
}

fn header(ssrc: u32, index: u64) -> [u8; 12] {
    let mut header = [0x80, 96, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    header[8..].copy_from_slice(&ssrc.to_be_bytes());
    header
}

fn seal(sealer: &SrtpSealer, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + 40];
    let len = sealer
        .seal(&header(ssrc, index), payload, ssrc, index, &mut out)
        .unwrap();
    out.truncate(len);
    out
}

fn open(opener: &mut SrtpOpener, packet: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut out = vec![0; packet.len()];
    let len = opener.open(packet, &mut out)?;
    out.truncate(len);
    Ok(out)
}

/// RFC 3711 appendix B.3; of the authentication key the first five blocks.
#[test]
fn key_derivation_gives_the_published_session_keys() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    let master = MasterKey::new(Profile::Aes128CmSha1_80, &key, &salt).unwrap();
    let derived = |label, len| {
        let mut out = vec![0; len];
        derive(&master, label, &mut out).unwrap();
        out
    };
    assert_eq!(
        derived(Label::RtpKey, 16),
        hex("C61E7A93744F39EE10734AFE3FF7A087")
    );
    assert_eq!(
        derived(Label::RtpSalt, 14),
        hex("30CBBC08863D8C85D49DB34A9AE1")
    );
    let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
                E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
                6D6E919A48B610EF17C2041E47403576";
    assert_eq!(derived(Label::RtpAuth, 80), hex(auth));
}

/// RFC 3711 appendix B.2: the key stream at its start, and around block 0xff00.
#[test]
fn counter_mode_gives_the_published_key_stream() {
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let transform =
        Transform::from_session_keys(Profile::Aes128CmSha1_80, &key, &[0; 20], salt).unwrap();
    let plaintext = vec![0; 16 * 0xff03];
    let (mut stream, mut tag) = (vec![0; plaintext.len()], [0; 10]);
    let parts = RtpParts {
        header: &[],
        ssrc: 0,
        index: 0,
    };
    transform
        .seal_rtp(parts, &plaintext, &mut stream, &mut tag)
        .unwrap();
    let start = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                 41E95B3BB0A2E8DD477901E4FCA894C0";
    let late = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
                6A2CC3787889374FBEB4C81B17BA6C44";
    assert_eq!(stream[..48], hex(start));
    assert_eq!(stream[16 * 0xfeff..16 * 0xff02], hex(late));
}

/// A session with the keys of the RFC 7714 vectors, which skip key derivation.
fn rfc7714(profile: Profile) -> Transform {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    Transform::from_session_keys(profile, &key, &[0; 20], salt).unwrap()
}

/// RFC 7714 §16.1.1, §16.1.2, §16.2.1, §16.2.2.
#[test]
fn gcm_seals_and_opens_the_published_rtp_packets() {
    let sealed_128 = "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
                      36de3adf 8833 899d7f27 beb16a91 52cf765e e4390cce";
    let sealed_256 = "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
                      1ba63799 b87b 7aa3db36 dfffd6b0 f9bb7878 d7a76c13";
    let header = hex("8040f17b 8041f8d3 5501a0b2");
    let plaintext = b"Gallia est omnis divisa in partes tres";
    for (profile, sealed) in [
        (Profile::AeadAes128Gcm, sealed_128),
        (Profile::AeadAes256Gcm, sealed_256),
    ] {
        let transform = rfc7714(profile);
        let parts = RtpParts {
            header: &header,
            ssrc: 0x5501_a0b2,
            index: 0xf17b,
        };
        let (mut body, mut tag) = ([0; 38], [0; 16]);
        transform
            .seal_rtp(parts, plaintext, &mut body, &mut tag)
            .unwrap();
        assert_eq!([&body[..], &tag[..]].concat(), hex(sealed), "{profile:?}");
        let mut opened = [0; 38];
        transform.open_rtp(parts, &body, &tag, &mut opened).unwrap();
        assert_eq!(&opened, plaintext);
    }
}

/// RFC 7714 §17.1, §17.2 and their counterparts for AES-256.
#[test]
fn gcm_seals_and_opens_the_published_rtcp_packets() {
    let compound = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef
         deadbeef deadbeef deadbeef deadbeef",
    );
    let sealed_128 = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
                      c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
                      45d9eade 800005d4";
    let sealed_256 = "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
                      a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c
                      b26ac3be 800005d4";
    for (profile, sealed) in [
        (Profile::AeadAes128Gcm, sealed_128),
        (Profile::AeadAes256Gcm, sealed_256),
    ] {
        let transform = rfc7714(profile);
        let mut out = vec![0; compound.len() + profile.rtcp_overhead()];
        let len = transform
            .seal_rtcp(&compound, 0x4d61_7273, 0x5d4, &mut out)
            .unwrap();
        assert_eq!(out[..len], hex(sealed), "{profile:?}");
        let parts = transform.split_rtcp(&out).unwrap();
        assert_eq!(
            (parts.ssrc, parts.index, parts.is_encrypted),
            (0x4d61_7273, 0x5d4, true)
        );
        let mut plaintext = vec![0; parts.body.len()];
        transform.open_rtcp(&parts, &mut plaintext).unwrap();
        assert_eq!(plaintext, compound[8..]);
    }
}

/// RFC 3711 §3.1 and §3.4: which bytes the HMAC covers, rebuilt from the primitives.
#[test]
fn sha1_tags_cover_the_packet_and_the_index() {
    use aws_lc_rs::hmac;
    let master = master(Profile::Aes128CmSha1_80, 1);
    let mac = |label, bytes: &[u8]| {
        let mut auth = [0; 20];
        derive(&master, label, &mut auth).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth);
        hmac::sign(&key, bytes).as_ref()[..10].to_vec()
    };
    let sealed = seal(&SrtpSealer::new(&master).unwrap(), 5, 0x3_0001, b"payload");
    let (covered, tag) = sealed.split_at(sealed.len() - 10);
    assert_eq!(tag, mac(Label::RtpAuth, &[covered, &[0, 0, 0, 3]].concat()));

    let mut out = [0; 64];
    let len = SrtcpSealer::new(&master)
        .unwrap()
        .seal(&[0x80; 12], &mut out)
        .unwrap();
    let (covered, tag) = out[..len].split_at(len - 10);
    assert_eq!(covered[12..], [0x80, 0, 0, 0], "the first index, encrypted");
    assert_eq!(tag, mac(Label::RtcpAuth, covered));
}

#[test]
fn aes_256_derives_with_a_256_bit_key() {
    let master = master(Profile::AeadAes256Gcm, 9);
    let mut derived = [0; 32];
    derive(&master, Label::RtpKey, &mut derived).unwrap();
    let mut expected = [0; 32];
    let mut iv = [0; 16];
    iv[..12].fill(9 ^ 0xff);
    let context = aws_lc_rs::cipher::EncryptionContext::Iv128(iv.into());
    counter_mode(&[9; 32])
        .unwrap()
        .less_safe_encrypt(&mut expected, context)
        .unwrap();
    assert_eq!(derived, expected);
}

#[test]
fn exported_bytes_are_cut_by_role() {
    for profile in PROFILES {
        let (k, s) = (profile.key_len(), profile.salt_len());
        let exported = [vec![1; k], vec![2; k], vec![3; s], vec![4; s]].concat();
        assert_eq!(exported.len(), profile.keying_len());
        let client = KeyingMaterial::split(profile, &exported, Role::Client).unwrap();
        let server = KeyingMaterial::split(profile, &exported, Role::Server).unwrap();
        assert_eq!(client.local.key(), vec![1; k]);
        assert_eq!(client.remote.key(), vec![2; k]);
        assert_eq!(client.local.padded_salt()[..s], vec![3; s]);
        assert_eq!(server.local.key(), client.remote.key());
        assert_eq!(server.remote.padded_salt(), client.local.padded_salt());

        let short = KeyingMaterial::split(profile, &exported[1..], Role::Server).unwrap_err();
        let expected = profile.keying_len();
        assert_eq!(
            short,
            KeyError::Length {
                actual: expected - 1,
                expected
            }
        );
        let longer = [exported, vec![9; 20]].concat();
        let cut = KeyingMaterial::split(profile, &longer, Role::Client).unwrap();
        assert_eq!(cut.remote.padded_salt(), client.remote.padded_salt());
    }
}

#[test]
fn debug_output_shows_no_keys() {
    let exported = [0xab; 56];
    let keys = KeyingMaterial::split(Profile::AeadAes128Gcm, &exported, Role::Client).unwrap();
    let (sealer, opener) = (SrtpSealer::new(&keys.local), SrtcpOpener::new(&keys.remote));
    let text = format!("{keys:?} {sealer:?} {opener:?}");
    assert!(text.contains("AeadAes128Gcm"));
    assert!(
        !text.contains("171") && !text.contains("ab, ") && !text.contains("abab"),
        "{text}"
    );
}

#[test]
fn what_is_sealed_opens_and_grows_by_the_stated_overhead() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        let payload = [0x5a; 100];
        let sealed = seal(&sealer, 9, 1, &payload);
        assert_eq!(sealed.len(), 12 + 100 + profile.rtp_overhead());
        assert_ne!(sealed[12..112], payload);
        assert_eq!(open(&mut opener, &sealed).unwrap()[12..], payload);
    }
}

#[test]
fn csrcs_and_extensions_stay_in_the_clear() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        let mut header = header(9, 1).to_vec();
        header[0] = 0x92;
        header.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        header.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        let mut sealed = [0; 100];
        let len = sealer.seal(&header, b"x", 9, 1, &mut sealed).unwrap();
        assert_eq!(sealed[..header.len()], header);
        assert_eq!(
            open(&mut opener, &sealed[..len]).unwrap(),
            [&header[..], b"x"].concat()
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_changes_no_state() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        let sealed = seal(&sealer, 9, 1, b"payload");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut opener, &bad).is_err(), "{profile:?}, bit {bit}");
        }
        assert_eq!(opener.highest_index(9), None);
        open(&mut opener, &sealed).unwrap();
        assert_eq!(opener.highest_index(9), Some(1));
    }
}

#[test]
fn another_key_or_another_profile_does_not_open() {
    for profile in PROFILES {
        let (sealer, _) = pair(profile);
        let sealed = seal(&sealer, 9, 1, &[0; 50]);
        for other in PROFILES {
            let mut opener = SrtpOpener::new(&master(other, 8)).unwrap();
            assert_eq!(open(&mut opener, &sealed), Err(OpenError::Unauthentic));
        }
    }
}

#[test]
fn repeated_and_very_late_packets_are_refused() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        let packet = |index| seal(&sealer, 9, index, b"x");
        open(&mut opener, &packet(2000)).unwrap();
        assert_eq!(open(&mut opener, &packet(2000)), Err(OpenError::Replayed));
        open(&mut opener, &packet(2001 - WINDOW_LEN)).unwrap();
        assert_eq!(
            open(&mut opener, &packet(2001 - WINDOW_LEN)),
            Err(OpenError::Replayed)
        );
        assert_eq!(
            open(&mut opener, &packet(2000 - WINDOW_LEN)),
            Err(OpenError::TooOld)
        );
        open(&mut opener, &packet(1999)).unwrap();
        open(&mut opener, &packet(2001)).unwrap();
        assert_eq!(open(&mut opener, &packet(1999)), Err(OpenError::Replayed));
    }
}

#[test]
fn the_rollover_counter_follows_the_sequence_number() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        // In order over two wraps, with a packet from before each wrap arriving after it.
        for index in (0..0x2_8000).step_by(0x1000) {
            open(&mut opener, &seal(&sealer, 9, index, b"x")).unwrap();
            if index > 0 && index % 0x1_0000 == 0 {
                open(&mut opener, &seal(&sealer, 9, index - 1, b"late")).unwrap();
            }
        }
        assert_eq!(opener.highest_index(9), Some(0x2_7000));
        // 2^15 ahead is the far side of the estimate: the wrong counter fails authentication.
        let far = seal(&sealer, 9, 0x2_7000 + 0x8000, b"x");
        assert!(open(&mut opener, &far).is_err());
    }
}

#[test]
fn a_packet_before_the_first_wrap_of_a_young_stream_is_refused() {
    let (sealer, mut opener) = pair(Profile::AeadAes128Gcm);
    open(&mut opener, &seal(&sealer, 9, 5, b"x")).unwrap();
    assert_eq!(
        open(&mut opener, &seal(&sealer, 9, 0xfff0, b"x")),
        Err(OpenError::TooOld)
    );
}

#[test]
fn the_number_of_sources_is_bounded() {
    let (sealer, mut opener) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..SSRC_COUNT_MAX as u32 {
        open(&mut opener, &seal(&sealer, ssrc, 1, b"x")).unwrap();
    }
    let one_more = seal(&sealer, SSRC_COUNT_MAX as u32, 1, b"x");
    assert_eq!(open(&mut opener, &one_more), Err(OpenError::TooManySources));
    open(&mut opener, &seal(&sealer, 3, 2, b"x")).unwrap();
}

#[test]
fn sealing_refuses_what_would_be_unsafe_or_unreadable() {
    let (sealer, _) = pair(Profile::AeadAes128Gcm);
    let mut out = [0; 12 + 1 + 16];
    let mut seal = |header: &[u8], index, len| sealer.seal(header, b"x", 9, index, &mut out[..len]);
    assert_eq!(seal(&header(9, 1), 1, 29), Ok(29));
    assert_eq!(seal(&header(9, 1), 1, 28), Err(SealError::NoSpace));
    assert_eq!(seal(&header(9, 1), 2, 29), Err(SealError::Malformed));
    assert_eq!(seal(&header(8, 1), 1, 29), Err(SealError::Malformed));
    assert_eq!(seal(&header(9, 1)[..11], 1, 29), Err(SealError::Malformed));
    let last = (1 << 48) - 1;
    assert_eq!(seal(&header(9, last), last, 29), Ok(29));
    assert_eq!(
        seal(&header(9, 0), 1 << 48, 29),
        Err(SealError::IndexExhausted)
    );
}

fn rtcp_pair(profile: Profile) -> (SrtcpSealer, SrtcpOpener) {
    let master = master(profile, 7);
    (
        SrtcpSealer::new(&master).unwrap(),
        SrtcpOpener::new(&master).unwrap(),
    )
}

fn compound(ssrc: u32) -> Vec<u8> {
    [
        &[0x80, 201, 0, 1][..],
        &ssrc.to_be_bytes(),
        &[0x81, 202, 0, 1, 1, 2, 3, 4],
    ]
    .concat()
}

fn seal_rtcp(sealer: &mut SrtcpSealer, ssrc: u32) -> Vec<u8> {
    let mut out = vec![0; 64];
    let len = sealer.seal(&compound(ssrc), &mut out).unwrap();
    out.truncate(len);
    out
}

fn open_rtcp(opener: &mut SrtcpOpener, packet: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut out = vec![0; packet.len()];
    let len = opener.open(packet, &mut out)?;
    out.truncate(len);
    Ok(out)
}

#[test]
fn rtcp_opens_once_and_only_untouched() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = rtcp_pair(profile);
        let first = seal_rtcp(&mut sealer, 4);
        let second = seal_rtcp(&mut sealer, 4);
        assert_eq!(first.len(), compound(4).len() + profile.rtcp_overhead());
        assert_ne!(
            first[8..16],
            second[8..16],
            "the index changes the key stream"
        );
        for bit in 0..first.len() * 8 {
            let mut bad = first.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_rtcp(&mut opener, &bad).is_err(),
                "{profile:?}, bit {bit}"
            );
        }
        assert_eq!(open_rtcp(&mut opener, &second).unwrap(), compound(4));
        assert_eq!(open_rtcp(&mut opener, &first).unwrap(), compound(4));
        assert_eq!(open_rtcp(&mut opener, &first), Err(OpenError::Replayed));
        assert_eq!(open_rtcp(&mut opener, &second), Err(OpenError::Replayed));
    }
}

#[test]
fn rtcp_without_encryption_is_refused() {
    let (mut sealer, mut opener) = rtcp_pair(Profile::AeadAes128Gcm);
    let mut sealed = seal_rtcp(&mut sealer, 4);
    let word = sealed.len() - 4;
    sealed[word] &= 0x7f;
    assert_eq!(open_rtcp(&mut opener, &sealed), Err(OpenError::Unencrypted));
}

/// RFC 3711 §9.2: after the last index the key must not be used any more.
#[test]
fn rtcp_sealing_ends_with_the_last_index() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = rtcp_pair(profile);
        sealer.skip_to((1 << 31) - 1);
        let last = seal_rtcp(&mut sealer, 4);
        assert_eq!(open_rtcp(&mut opener, &last).unwrap(), compound(4));
        for _ in 0..2 {
            let refused = sealer.seal(&compound(4), &mut [0; 64]);
            assert_eq!(refused, Err(SealError::IndexExhausted));
        }
    }
}

#[test]
fn rtcp_errors_use_up_no_index() {
    let (mut sealer, _) = rtcp_pair(Profile::AeadAes128Gcm);
    assert_eq!(
        sealer.seal(&[0x80; 7], &mut [0; 64]),
        Err(SealError::Malformed)
    );
    assert_eq!(
        sealer.seal(&compound(4), &mut [0; 35]),
        Err(SealError::NoSpace)
    );
    assert_eq!(seal_rtcp(&mut sealer, 4)[32..], [0x80, 0, 0, 0]);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for profile in PROFILES {
            let master = master(profile, 1);
            let mut out = [0; 200];
            prop_assert!(SrtpOpener::new(&master).unwrap().open(&bytes, &mut out).is_err());
            prop_assert!(SrtcpOpener::new(&master).unwrap().open(&bytes, &mut out).is_err());
        }
    }

    #[test]
    fn any_payload_survives_the_way(
        payload in prop::collection::vec(any::<u8>(), 0..1300),
        ssrc: u32,
        start in 0u64..1 << 47,
    ) {
        for profile in PROFILES {
            let (sealer, _) = pair(profile);
            let transform = Transform::new(&master(profile, 7), crate::transform::Protocol::Srtp);
            let sealed = seal(&sealer, ssrc, start, &payload);
            let header = header(ssrc, start);
            let (body, tag) = sealed[12..].split_at(payload.len());
            let mut opened = vec![0; payload.len()];
            let parts = RtpParts { header: &header, ssrc, index: start };
            transform.unwrap().open_rtp(parts, body, tag, &mut opened).unwrap();
            prop_assert_eq!(&opened, &payload);
        }
    }

    /// Against a plain set: an index opens if, and only if, it is new and inside the window.
    #[test]
    fn replay_protection_agrees_with_a_set(steps in prop::collection::vec(-1500i64..3000, 1..60)) {
        let (sealer, mut opener) = pair(Profile::AeadAes128Gcm);
        let mut seen = std::collections::BTreeSet::new();
        let mut highest = 40_000_u64;
        for step in steps {
            let index = highest.saturating_add_signed(step);
            let opened = open(&mut opener, &seal(&sealer, 1, index, b"x"));
            let known = seen.last().copied().unwrap_or(index);
            if seen.is_empty() {
                // The receiver cannot know the rollover counter of a first packet beyond zero.
                prop_assert_eq!(opened.is_ok(), index < 0x1_0000);
                if opened.is_err() { return Ok(()); }
                seen.insert(index);
            } else if index + WINDOW_LEN <= known {
                prop_assert_eq!(opened, Err(OpenError::TooOld));
            } else {
                prop_assert_eq!(opened.is_ok(), seen.insert(index), "index {}", index);
            }
            highest = *seen.last().unwrap();
        }
    }
}

#[test]
fn an_index_of_a_source_is_sealed_once() {
    // RFC 7714 §8.1: whatever else goes wrong, a nonce is not used twice.
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        let mut source = SrtpSource::new(9);
        assert_eq!((source.ssrc(), source.highest()), (9, None));
        let mut out = [0; 100];
        let mut seal = |source: &mut SrtpSource, index: u64| {
            let sealed = sealer.seal_once(source, &header(9, index), b"frame", index, &mut out);
            sealed.map(|len| out[..len].to_vec())
        };
        for index in [65_530, 65_531, 65_540, 65_535, 66_553] {
            let packet = seal(&mut source, index).expect("fresh");
            if index <= 65_540 {
                assert!(open(&mut opener, &packet).is_ok());
            }
            assert_eq!(
                seal(&mut source, index),
                Err(SealError::IndexUsed),
                "{index}"
            );
        }
        assert_eq!(source.highest(), Some(66_553));
        assert_eq!(
            seal(&mut source, 65_529),
            Err(SealError::IndexUsed),
            "too far behind"
        );
        // Used up even though nothing came of it.
        let mut short = [0; 10];
        let refused = sealer.seal_once(&mut source, &header(9, 65_600), b"", 65_600, &mut short);
        assert_eq!(refused, Err(SealError::NoSpace));
        assert_eq!(seal(&mut source, 65_600), Err(SealError::IndexUsed));
        let wrong = sealer.seal_once(&mut source, &header(8, 70_000), b"", 70_000, &mut [0; 99]);
        assert_eq!(wrong, Err(SealError::Malformed), "another source's header");
    }
}
