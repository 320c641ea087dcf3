//! Signatures as minisign makes them.

use base64::prelude::{BASE64_STANDARD, Engine};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

/// A key that signs.
pub struct SigningKey {
    key: PKey<Private>,
    id: [u8; 8],
}

impl SigningKey {
    /// A new one with this id.
    pub fn new(id: [u8; 8]) -> Self {
        SigningKey { key: PKey::generate_ed25519().expect("a key"), id }
    }

    /// The public key, as the host wants it.
    pub fn public(&self) -> String {
        let key = self.key.raw_public_key().expect("it has one");
        BASE64_STANDARD.encode([b"Ed", &self.id[..], &key].concat())
    }

    /// The text of a signature of `bytes` with a trusted comment.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> String {
        let blake = MessageDigest::from_name("blake2b512").expect("OpenSSL has it");
        let signature = self.raw(&hash(blake, bytes).expect("it hashes"));
        let of_comment = self.raw(&[&signature, comment.as_bytes()].concat());
        let signature = BASE64_STANDARD.encode([b"ED", &self.id[..], &signature].concat());
        let of_comment = BASE64_STANDARD.encode(of_comment);
        format!("untrusted comment: a test\n{signature}\ntrusted comment: {comment}\n{of_comment}\n")
    }

    fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut signer = Signer::new_without_digest(&self.key).expect("the key signs");
        signer.sign_oneshot_to_vec(bytes).expect("it signs")
    }
}
