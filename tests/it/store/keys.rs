//! API keys, markers and wiping.

use runhook::model::id::ApiKeyId;
use runhook::store::keys::ApiKey;
use runhook::store::projects::ProjectQuery;
use runhook::store::{Store, StoreError};

use super::sample::{PROJECT, TENANT, accept, apply, at, changes, post, rule, run_id, uuid};

fn key(number: u32) -> ApiKey {
    ApiKey {
        id: ApiKeyId(uuid(8, number)),
        tenant_id: TENANT,
        name: format!("key {number}"),
        hash: [u8::try_from(number).unwrap(); 32],
        prefix: "rh_abc".into(),
        scopes: runhook::model::scope::Scopes::all(),
        created_at: at(i64::from(number)),
        revoked_at: None,
    }
}

pub(crate) async fn a_key_is_stored_once_listed_and_revoked_once(store: &dyn Store) {
    store.put_api_key(key(2), None).await.unwrap();
    store.put_api_key(key(1), None).await.unwrap();
    store.put_api_key(ApiKey { hash: key(1).hash, ..key(3) }, None).await.unwrap();
    store.put_api_key(key(1), None).await.unwrap();
    let other = store.put_api_key(ApiKey { hash: key(3).hash, ..key(1) }, None).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    assert_eq!(store.api_keys().await.unwrap(), [key(1), key(2)]);
    assert!(store.revoke_api_key(key(1).id, at(9), None).await.unwrap());
    assert!(!store.revoke_api_key(key(1).id, at(10), None).await.unwrap());
    assert_eq!(store.api_keys().await.unwrap()[0].revoked_at, Some(at(9)));
    let narrow = ApiKey { scopes: "read".parse().unwrap(), ..key(4) };
    store.put_api_key(narrow.clone(), None).await.unwrap();
    assert_eq!(store.api_keys().await.unwrap()[2], narrow);
}

pub(crate) async fn markers_are_kept_and_replaced(store: &dyn Store) {
    assert_eq!(store.marker("keyring").await.unwrap(), None);
    store.set_marker("keyring", &[1, 0, 2]).await.unwrap();
    store.set_marker("keyring", &[3]).await.unwrap();
    assert_eq!(store.marker("keyring").await.unwrap(), Some(vec![3]));
    store.check_writable(at(1)).await.unwrap();
}

pub(crate) async fn a_wipe_leaves_keys_and_markers_only(store: &dyn Store) {
    store.put_api_key(key(1), None).await.unwrap();
    store.set_marker("keyring", &[1]).await.unwrap();
    apply(store, vec![rule("a", 60)], at(0)).await;
    accept(store, vec![post(1)]).await;
    let version = store.rules_version().await.unwrap();
    store.wipe(None).await.unwrap();
    assert!(store.run(TENANT, run_id(1)).await.unwrap().is_none());
    assert!(store.list_rules(TENANT).await.unwrap().is_empty());
    assert!(changes(store, PROJECT).await.is_empty());
    assert!(store.rules_version().await.unwrap() > version);
    let query = ProjectQuery { limit: 9, ..ProjectQuery::default() };
    assert_eq!(store.list_projects(TENANT, &query).await.unwrap().len(), 1);
    assert_eq!((store.api_keys().await.unwrap().len(), store.marker("keyring").await.unwrap()), (1, Some(vec![1])));
}
