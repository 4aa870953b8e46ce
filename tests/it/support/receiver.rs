//! A scripted receiver of notifications.
