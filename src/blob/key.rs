//! Names of blobs.

use sha2::{Digest as _, Sha256};

use crate::crypto::hex;
use crate::model::id::{RunId, TenantId};
use crate::model::run::BlobKey;

/// The longest field name that is kept whole in a key.
const FIELD: usize = 64;
/// The longest segment of a key: what file systems take, less the room for a temporary name.
const SEGMENT: usize = 200;

/// The key of this content of this field of this run: `{tenant}/{run}/{field}-{digest}`. The same content has the same
/// key. Characters of the field that some file system or URL would not take become `_`.
#[must_use]
pub fn key_of(tenant: TenantId, run: RunId, field: &str, bytes: &[u8]) -> BlobKey {
    let field: String = field.chars().take(FIELD).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let field = if field.starts_with('.') { field.replacen('.', "_", 1) } else { field };
    let digest: String = hex(&Sha256::digest(bytes)).chars().take(32).collect();
    BlobKey(format!("{tenant}/{run}/{field}-{digest}"))
}

/// Whose blob it is, and of which run. Nobody's if the key is not one that [`key_of`] makes.
#[must_use]
pub fn owner_of(key: &BlobKey) -> Option<(TenantId, RunId)> {
    let mut segments = key.0.split('/');
    let owner = (segments.next()?.parse().ok()?, segments.next()?.parse().ok()?);
    (segments.next().is_some() && segments.next().is_none()).then_some(owner)
}

/// Whether a key is a relative path of plain segments: nothing hidden, nothing that leads elsewhere.
pub(super) fn is_valid(key: &BlobKey) -> bool {
    key.0.split('/').all(|segment| {
        !segment.is_empty() && segment.len() <= SEGMENT && !segment.starts_with('.') && segment.chars().all(is_plain)
    })
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_key_names_its_owner_its_run_and_its_content() {
        let key = key_of(TenantId(Uuid::from_u128(1)), RunId(Uuid::from_u128(2)), "inputs", b"{}");
        assert_eq!(
            key.0,
            "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002/\
             inputs-44136fa355b3678a1146ad16f7e8649e"
        );
    }

    #[test]
    fn keys_that_lead_elsewhere_are_invalid() {
        for key in
            ["", "/etc/passwd", "a/../b", "..", "a/.tmp/b", "a//b", "a/b/", "a\\b", "a/b c", "a/%2e", "a\0b", "ä"]
        {
            assert!(!is_valid(&BlobKey(key.to_owned())), "{key}");
        }
        assert!(is_valid(&BlobKey("a/b-1/c.d_e".to_owned())));
    }

    #[test]
    fn what_else_lies_in_a_bucket_is_nobodys() {
        let (tenant, run) = (TenantId::DEFAULT, RunId(Uuid::nil()));
        for key in
            ["runhook-check".to_owned(), format!("{tenant}/{run}"), format!("{tenant}/{run}/a/b"), format!("x/{run}/a")]
        {
            assert_eq!(owner_of(&BlobKey(key.clone())), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_that_is_made_is_valid(field: String, bytes: Vec<u8>) {
            let key = key_of(TenantId::DEFAULT, RunId(Uuid::nil()), &field, &bytes);
            prop_assert!(is_valid(&key), "{}", key.0);
            prop_assert_eq!(owner_of(&key), Some((TenantId::DEFAULT, RunId(Uuid::nil()))));
        }
    }
}
