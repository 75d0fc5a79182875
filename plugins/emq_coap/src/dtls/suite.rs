//! Cipher suites, and what protects records.

use aws_lc_rs::aead::{self, LessSafeKey, UnboundKey};
use aws_lc_rs::{digest, hmac};
use ccm::Ccm;
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U8, U12, U16};

/// How a peer knows that it is us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// ECDHE, signed with an ECDSA (or Ed25519) key
    Ecdsa,
    /// ECDHE, signed with an RSA key
    Rsa,
    /// a key that both have
    Psk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aead {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    Aes128Ccm,
    Aes128Ccm8,
}

impl Aead {
    pub fn key_len(self) -> usize {
        match self {
            Aead::Aes128Gcm | Aead::Aes128Ccm | Aead::Aes128Ccm8 => 16,
            Aead::Aes256Gcm | Aead::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of the nonce that come from the handshake.
    pub fn fixed_iv_len(self) -> usize {
        match self {
            Aead::ChaCha20Poly1305 => 12,
            _ => 4,
        }
    }

    fn tag_len(self) -> usize {
        match self {
            Aead::Aes128Ccm8 => 8,
            _ => 16,
        }
    }
}

/// The hash of the pseudo-random function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    pub fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
        };
        digest::digest(algorithm, bytes)
    }

    /// The pseudo-random function of TLS 1.2 (RFC 5246, 5).
    pub fn prf(self, secret: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) {
        let algorithm = match self {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
        };
        let key = hmac::Key::new(algorithm, secret);
        let seed = [label, seed].concat();
        let mut a = hmac::sign(&key, &seed);
        for chunk in out.chunks_mut(algorithm.digest_algorithm().output_len()) {
            let block = hmac::sign(&key, &[a.as_ref(), &seed].concat());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
            a = hmac::sign(&key, a.as_ref());
        }
    }
}

/// What CoAP devices and their libraries offer, all with authenticated encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suite {
    pub id: u16,
    pub proof: Proof,
    pub aead: Aead,
    pub hash: Hash,
}

const fn suite(id: u16, proof: Proof, aead: Aead, hash: Hash) -> Suite {
    Suite {
        id,
        proof,
        aead,
        hash,
    }
}

const SUITES: [Suite; 13] = [
    // TLS_ECDHE_ECDSA_WITH_...; the one with CCM_8 is that which RFC 7252 asks for.
    suite(0xC02B, Proof::Ecdsa, Aead::Aes128Gcm, Hash::Sha256),
    suite(0xC02C, Proof::Ecdsa, Aead::Aes256Gcm, Hash::Sha384),
    suite(0xCCA9, Proof::Ecdsa, Aead::ChaCha20Poly1305, Hash::Sha256),
    suite(0xC0AC, Proof::Ecdsa, Aead::Aes128Ccm, Hash::Sha256),
    suite(0xC0AE, Proof::Ecdsa, Aead::Aes128Ccm8, Hash::Sha256),
    // TLS_ECDHE_RSA_WITH_...
    suite(0xC02F, Proof::Rsa, Aead::Aes128Gcm, Hash::Sha256),
    suite(0xC030, Proof::Rsa, Aead::Aes256Gcm, Hash::Sha384),
    suite(0xCCA8, Proof::Rsa, Aead::ChaCha20Poly1305, Hash::Sha256),
    // TLS_PSK_WITH_...; again CCM_8 is that of RFC 7252.
    suite(0x00A8, Proof::Psk, Aead::Aes128Gcm, Hash::Sha256),
    suite(0x00A9, Proof::Psk, Aead::Aes256Gcm, Hash::Sha384),
    suite(0xCCAB, Proof::Psk, Aead::ChaCha20Poly1305, Hash::Sha256),
    suite(0xC0A4, Proof::Psk, Aead::Aes128Ccm, Hash::Sha256),
    suite(0xC0A8, Proof::Psk, Aead::Aes128Ccm8, Hash::Sha256),
];

/// The suite with that number, if it is one of ours.
pub(super) fn by_id(id: u16) -> Option<Suite> {
    SUITES.into_iter().find(|suite| suite.id == id)
}

/// Protects the records of one direction.
pub(super) struct Cipher {
    key: Key,
    aead: Aead,
    /// what the nonce begins with; all of it with ChaCha20
    fixed_iv: [u8; 12],
}

enum Key {
    Lc(Box<LessSafeKey>),
    Ccm(Box<Ccm<aes::Aes128, U16, U12>>),
    Ccm8(Box<Ccm<aes::Aes128, U8, U12>>),
}

/// A cipher could not do its work: a record is forged, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Bytes of the nonce that stand in the record.
const EXPLICIT: usize = 8;
/// Content type, version, epoch, sequence number, length.
pub(super) const HEADER: usize = 13;
/// What a record adds to its plaintext at the most.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT + 16;

impl Cipher {
    /// `key` and `iv` have the lengths that the suite asks for.
    pub fn new(aead: Aead, key: &[u8], iv: &[u8]) -> Result<Cipher, Broken> {
        let lc = |algorithm| {
            let key = UnboundKey::new(algorithm, key).map_err(|_| Broken)?;
            Ok(Key::Lc(Box::new(LessSafeKey::new(key))))
        };
        let key = match aead {
            Aead::Aes128Gcm => lc(&aead::AES_128_GCM)?,
            Aead::Aes256Gcm => lc(&aead::AES_256_GCM)?,
            Aead::ChaCha20Poly1305 => lc(&aead::CHACHA20_POLY1305)?,
            Aead::Aes128Ccm => Key::Ccm(Box::new(Ccm::new_from_slice(key).map_err(|_| Broken)?)),
            Aead::Aes128Ccm8 => Key::Ccm8(Box::new(Ccm::new_from_slice(key).map_err(|_| Broken)?)),
        };
        let mut fixed_iv = [0; 12];
        fixed_iv
            .get_mut(..iv.len())
            .ok_or(Broken)?
            .copy_from_slice(iv);
        Ok(Cipher {
            key,
            aead,
            fixed_iv,
        })
    }

    /// The nonce of a record; `explicit` is what stands in the record, or its epoch and number (RFC 7905, 2).
    fn nonce(&self, explicit: [u8; EXPLICIT]) -> [u8; 12] {
        let mut nonce = self.fixed_iv;
        for (byte, with) in nonce[4..].iter_mut().zip(explicit) {
            match self.aead {
                Aead::ChaCha20Poly1305 => *byte ^= with,
                _ => *byte = with,
            }
        }
        nonce
    }

    /// Appends a record: `number` is epoch and sequence number, 16 and 48 bits.
    pub fn seal(
        &self,
        content_type: u8,
        number: u64,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let explicit = match self.aead {
            Aead::ChaCha20Poly1305 => 0,
            _ => EXPLICIT,
        };
        let len = explicit + plain.len() + self.aead.tag_len();
        let header = header(
            content_type,
            number,
            u16::try_from(len).map_err(|_| Broken)?,
        );
        out.extend_from_slice(&header);
        let nonce = number.to_be_bytes();
        out.extend_from_slice(&nonce[..explicit]);
        let begin = out.len();
        out.extend_from_slice(plain);
        let aad = additional(&header, plain.len());
        let nonce = self.nonce(nonce);
        let body = &mut out[begin..];
        match &self.key {
            Key::Lc(key) => {
                let nonce = aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(aad), body);
                out.extend_from_slice(tag.map_err(|_| Broken)?.as_ref());
            }
            Key::Ccm(key) => {
                let tag = key.encrypt_inout_detached(&nonce.into(), &aad, body.into());
                out.extend_from_slice(&tag.map_err(|_| Broken)?);
            }
            Key::Ccm8(key) => {
                let tag = key.encrypt_inout_detached(&nonce.into(), &aad, body.into());
                out.extend_from_slice(&tag.map_err(|_| Broken)?);
            }
        }
        Ok(())
    }

    /// The plaintext of a record, in the place of its body.
    pub fn open<'a>(&self, header: &[u8; HEADER], body: &'a mut [u8]) -> Result<&'a [u8], Broken> {
        let mut explicit = [0; EXPLICIT];
        let body = match self.aead {
            Aead::ChaCha20Poly1305 => {
                explicit.copy_from_slice(&header[3..11]);
                body
            }
            _ => {
                let (nonce, body) = body.split_at_mut_checked(EXPLICIT).ok_or(Broken)?;
                explicit.copy_from_slice(nonce);
                body
            }
        };
        let nonce = self.nonce(explicit);
        let len = body.len().checked_sub(self.aead.tag_len()).ok_or(Broken)?;
        let aad = additional(header, len);
        match &self.key {
            Key::Lc(key) => {
                let nonce = aead::Nonce::assume_unique_for_key(nonce);
                let plain = key.open_in_place(nonce, aead::Aad::from(aad), body);
                plain.map(|plain| &*plain).map_err(|_| Broken)
            }
            Key::Ccm(key) => {
                let (text, tag) = body.split_at_mut(len);
                let tag = <[u8; 16]>::try_from(&*tag).map_err(|_| Broken)?;
                key.decrypt_inout_detached(&nonce.into(), &aad, (&mut *text).into(), &tag.into())
                    .map_err(|_| Broken)?;
                Ok(text)
            }
            Key::Ccm8(key) => {
                let (text, tag) = body.split_at_mut(len);
                let tag = <[u8; 8]>::try_from(&*tag).map_err(|_| Broken)?;
                key.decrypt_inout_detached(&nonce.into(), &aad, (&mut *text).into(), &tag.into())
                    .map_err(|_| Broken)?;
                Ok(text)
            }
        }
    }
}

/// The header of a record of DTLS 1.2.
pub(super) fn header(content_type: u8, number: u64, len: u16) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = content_type;
    header[1..3].copy_from_slice(&[0xFE, 0xFD]);
    header[3..11].copy_from_slice(&number.to_be_bytes());
    header[11..].copy_from_slice(&len.to_be_bytes());
    header
}

/// What is authenticated beside the plaintext: number, type, version, and the plaintext's length (RFC 5246, 6.2.3.3).
fn additional(header: &[u8; HEADER], len: usize) -> [u8; HEADER] {
    let mut aad = [0; HEADER];
    aad[..8].copy_from_slice(&header[3..11]);
    aad[8..11].copy_from_slice(&header[..3]);
    // Records are shorter than 64 KB.
    aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
    aad
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_and_not_changed() {
        for aead in [
            Aead::Aes128Gcm,
            Aead::Aes256Gcm,
            Aead::ChaCha20Poly1305,
            Aead::Aes128Ccm,
            Aead::Aes128Ccm8,
        ] {
            let (key, iv) = (vec![7; aead.key_len()], vec![9; aead.fixed_iv_len()]);
            let cipher = Cipher::new(aead, &key, &iv).unwrap();
            for len in [0, 1, 100, 16_384] {
                let plain = vec![b'x'; len];
                let mut record = Vec::new();
                cipher.seal(23, 1 << 48 | 5, &plain, &mut record).unwrap();
                assert!(record.len() <= len + OVERHEAD);
                let (header, body) = record.split_at(HEADER);
                let header: [u8; HEADER] = header.try_into().unwrap();
                assert_eq!(
                    usize::from(u16::from_be_bytes([header[11], header[12]])),
                    body.len()
                );
                assert_eq!(cipher.open(&header, &mut body.to_vec()).unwrap(), plain);
                for at in [0, body.len() - 1] {
                    let mut forged = body.to_vec();
                    forged[at] ^= 1;
                    let opened = cipher.open(&header, &mut forged).map(<[u8]>::to_vec);
                    // The explicit nonce of others than ChaCha20 is not authenticated by itself, but by what it does.
                    assert_eq!(opened, Err(Broken), "{aead:?} {len} {at}");
                }
                let mut other = header;
                other[10] ^= 1;
                assert!(cipher.open(&other, &mut body.to_vec()).is_err());
            }
            for len in 0..EXPLICIT + 16 {
                assert!(cipher.open(&[0; HEADER], &mut vec![0; len]).is_err());
            }
        }
    }

    /// The vector that everybody has (IETF TLS mailing list, "Test vectors for TLS 1.2 PRF").
    #[test]
    fn the_pseudo_random_function() {
        let hex = |text: &str| -> Vec<u8> {
            let pairs = text.as_bytes().chunks(2);
            pairs
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let mut out = [0; 100];
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        Hash::Sha256.prf(&secret, b"test label", &seed, &mut out);
        assert_eq!(
            out.to_vec(),
            hex(
                "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0f\
                 a022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
            )
        );
    }
}
