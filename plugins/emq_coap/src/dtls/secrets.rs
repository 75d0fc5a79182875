//! What both ends of a handshake know and nobody else (RFC 5246, 6.3 and 8.1; RFC 7627).

use super::suite::{Broken, Cipher, Hash, Suite};

/// Bytes of a Finished.
const VERIFY_DATA: usize = 12;

/// Keys of both directions, and the secret they are made of.
pub(super) struct Secrets {
    hash: Hash,
    master: [u8; 48],
    pub read: Cipher,
    pub write: Cipher,
}

impl Secrets {
    /// From the premaster secret, the handshake as far as to the ClientKeyExchange when the master secret is an extended one,
    /// and the random numbers of client and server.
    pub fn derive(
        suite: Suite,
        premaster: &[u8],
        session: Option<&[u8]>,
        (client, server): (&[u8; 32], &[u8; 32]),
    ) -> Result<Secrets, Broken> {
        let Suite { aead, hash, .. } = suite;
        let mut master = [0; 48];
        match session {
            Some(session) => {
                let session = hash.digest(session);
                let label = b"extended master secret";
                hash.prf(premaster, label, session.as_ref(), &mut master);
            }
            None => {
                let seed = [*client, *server].concat();
                hash.prf(premaster, b"master secret", &seed, &mut master);
            }
        }
        let seed = [*server, *client].concat();
        let (key_len, iv_len) = (aead.key_len(), aead.fixed_iv_len());
        let mut block = vec![0; 2 * (key_len + iv_len)];
        hash.prf(&master, b"key expansion", &seed, &mut block);
        let (keys, ivs) = block.split_at(2 * key_len);
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_iv, server_iv) = ivs.split_at(iv_len);
        Ok(Secrets {
            hash,
            master,
            read: Cipher::new(aead, client_key, client_iv)?,
            write: Cipher::new(aead, server_key, server_iv)?,
        })
    }

    /// What a Finished says after these messages.
    pub fn verify_data(&self, label: &[u8], transcript: &[u8]) -> [u8; VERIFY_DATA] {
        let mut data = [0; VERIFY_DATA];
        let transcript = self.hash.digest(transcript);
        self.hash
            .prf(&self.master, label, transcript.as_ref(), &mut data);
        data
    }
}
