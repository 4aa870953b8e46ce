//! Tokens that let their holders give feedback.

use runhook::model::feedback::FeedbackToken;
use runhook::model::id::{FeedbackTokenId, TenantId};
use runhook::store::Store;
use uuid::Uuid;

use super::sample::{PROJECT, TENANT, accept, at, json, post, project_id, run_id, uuid};

/// A token on a run, made so many seconds into the test, that expires after a hundred more.
fn token(number: u32, run: u32) -> FeedbackToken {
    FeedbackToken {
        tenant_id: TENANT,
        id: FeedbackTokenId(uuid(7, number)),
        run_id: run_id(run),
        key: "thumbs".into(),
        config: Some(json(r#"{"type": "continuous",  "min":0}"#)),
        created_at: at(i64::from(number)),
        expires_at: at(i64::from(number) + 100),
    }
}

async fn listed(store: &dyn Store, run: u32, seconds: i64, offset: u32) -> Vec<FeedbackToken> {
    store.list_feedback_tokens(TENANT, run_id(run), at(seconds), 2, offset).await.unwrap()
}

pub(crate) async fn a_token_is_found_by_its_id_alone_and_listed_with_its_run(store: &dyn Store) {
    store.create_feedback_tokens(TENANT, vec![token(1, 1), token(2, 1), token(3, 1), token(4, 2)]).await.unwrap();
    assert_eq!(store.feedback_token(token(1, 1).id).await.unwrap(), Some(token(1, 1)));
    assert_eq!(store.feedback_token(FeedbackTokenId(uuid(7, 9))).await.unwrap(), None);
    assert_eq!(listed(store, 1, 50, 0).await, [token(3, 1), token(2, 1)]);
    assert_eq!(listed(store, 1, 50, 2).await, [token(1, 1)]);
    assert_eq!(listed(store, 1, 102, 0).await, [token(3, 1)]);
    let other = TenantId(Uuid::from_u128(9));
    assert!(store.list_feedback_tokens(other, run_id(1), at(50), 9, 0).await.unwrap().is_empty());
}

pub(crate) async fn a_token_goes_when_it_has_expired_or_with_its_run(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    store.create_feedback_tokens(TENANT, vec![token(1, 1), token(2, 2), token(3, 3), token(4, 4)]).await.unwrap();
    let dropped = store.drop_feedback_tokens(at(104), 1).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, true));
    let dropped = store.drop_feedback_tokens(at(103), 9).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, false));
    assert_eq!(store.feedback_token(token(2, 2).id).await.unwrap(), None);
    assert_eq!(store.feedback_token(token(3, 3).id).await.unwrap(), Some(token(3, 3)));
    store.create_feedback_tokens(TENANT, vec![token(1, 1)]).await.unwrap();
    assert!(store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert_eq!(store.feedback_token(token(1, 1).id).await.unwrap(), None);
    assert_eq!(store.feedback_token(token(4, 4).id).await.unwrap(), Some(token(4, 4)));
}
