//! Blobs go when they have been there for a while and nothing names them, and not a moment earlier.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use runhook::blob::BlobStore;
use runhook::blob::directory::Directory;
use runhook::blob::s3::S3Blobs;
use runhook::crypto::Keyring;
use runhook::model::run::{BlobKey, BlobRef, Fields, PartKind, Payload};
use runhook::model::time::{Clock as _, SystemClock};

use super::{DAY, HOUR, House, blob};
use crate::store::sample::{PROJECT, TENANT, begun, json, part, project_id, run_id};
use crate::support::s3::S3Server;

/// What there is to say of blobs, whatever they lie in: the house's clock runs ahead of the storage's.
async fn unnamed_blobs_go_in_time(house: &House) {
    let put = async |key: &BlobKey| {
        house.blobs.put(key, Bytes::from_static(b"{}"), "application/json").await.unwrap();
    };
    let (orphan, named, foreign) = (blob(1, "inputs"), blob(2, "inputs"), BlobKey("somebody/elses".to_owned()));
    for key in [&orphan, &named, &foreign] {
        put(key).await;
    }
    house.wait(23 * HOUR);
    house.keep().await;
    assert!(house.has(&orphan).await, "its request may still be under way");
    let extract = json("{}");
    let inputs = Some(Payload::Blob(BlobRef { key: named.clone(), bytes: 2, extract }));
    house.accept(vec![part(PartKind::Post, run_id(2), Some(PROJECT), Fields { inputs, ..begun(2) })]).await;
    house.wait(7 * HOUR);
    house.keep().await;
    assert!(!house.has(&orphan).await);
    assert!(house.has(&named).await && house.has(&foreign).await);
    house.store().delete_project(TENANT, project_id(PROJECT), None).await.unwrap();
    house.wait(7 * HOUR);
    house.keep().await;
    assert!(!house.has(&named).await, "a project that is deleted leaves no blobs");
    assert!(house.has(&foreign).await, "what is not a blob of ours is left alone");
}

#[tokio::test]
async fn unnamed_blobs_of_a_directory_go_in_time() {
    let house = House::on_a_file().await.unwrap();
    unnamed_blobs_go_in_time(&house).await;
    house.close().await;
}

#[tokio::test]
async fn unnamed_blobs_of_a_bucket_go_in_time() {
    let server = S3Server::start().await;
    let mut house = House::on_a_file().await.unwrap();
    house.blobs = Arc::new(S3Blobs::connect(&server.settings).await);
    unnamed_blobs_go_in_time(&house).await;
    house.close().await;
}

#[tokio::test]
async fn a_blob_that_is_put_again_is_as_young_as_that_whatever_was_there() {
    let house = House::on_a_file().await.unwrap();
    let key = blob(1, "inputs");
    let put = || house.blobs.put(&key, Bytes::from_static(b"{}"), "application/json");
    put().await.unwrap();
    let path = house.folder.path().join("blobs").join(&key.0);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + 1000 * DAY;
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    // A request brings the same value again: between this and its transaction nothing names the blob.
    put().await.unwrap();
    house.wait(HOUR);
    house.keep().await;
    assert!(house.has(&key).await);
    assert!(!house.blobs.delete_older(&key, house.now().before(DAY)).await.unwrap());
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert!(house.blobs.delete_older(&key, house.now().before(DAY)).await.unwrap());
    assert!(!house.blobs.delete_older(&key, house.now().before(DAY)).await.unwrap(), "it was gone");
    house.close().await;
}

#[tokio::test]
async fn all_blobs_are_listed_once_however_many_pages_they_fill() {
    let server = S3Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[5; 32])).unwrap());
    let directory = Directory::new(folder.path().join("blobs"), "http://h".parse().unwrap(), keyring);
    let bucket = S3Blobs::connect(&server.settings).await;
    for blobs in [&directory as &dyn BlobStore, &bucket] {
        assert_eq!(listed(blobs).await, BTreeMap::new(), "none is no error");
        for number in 0..1_100 {
            let mime_type = if number % 2 == 0 { "application/json" } else { "image/png" };
            blobs.put(&blob(number / 3, &number.to_string()), Bytes::new(), mime_type).await.unwrap();
        }
        blobs.check().await.unwrap();
        let listed = listed(blobs).await;
        let owned = listed.keys().filter(|key| runhook::blob::owner_of(key).is_some());
        assert_eq!(owned.count(), 1_100);
        assert!(listed.values().all(|times| *times == 1));
    }
}

async fn listed(blobs: &dyn BlobStore) -> BTreeMap<BlobKey, u32> {
    let (mut pages, mut found) = (blobs.pages(), BTreeMap::new());
    while let Some(page) = pages.next().await.unwrap() {
        for listed in page {
            assert!(SystemClock.now().since(listed.stored_at) < HOUR);
            *found.entry(listed.key).or_default() += 1;
        }
    }
    found
}
