//! What a store must do, written once and stamped for every backend.
//!
//! A case is a function over `&dyn Store` whose name is the sentence it proves. [`store_suite!`] turns the list of all
//! cases into tests of one backend; what only one backend can show (files, locks, queues) stands in that backend's file.

mod alerts;
mod audit;
mod broken;
mod collections;
mod evaluation;
mod events;
mod failed;
mod feedback_tokens;
mod health;
mod keys;
mod model;
mod names;
mod order;
mod outbox;
mod paths;
mod placement;
mod postgres;
mod projects;
mod removal;
mod retention;
mod rule_log;
mod runs;
pub(crate) mod sample;
mod search;
mod sqlite;

/// Stamps the suite for a backend: an async function that opens an empty store and returns something with a `store()`
/// and an async `close()`, or nothing when the backend is to be left out. An async `sql()` does something behind the
/// store's back.
macro_rules! store_suite {
    ($open:path) => {
        crate::store::store_suite! { $open;
            runs: parts_in_any_order_and_repeated_give_one_run,
                a_repeated_part_changes_nothing,
                a_patch_that_names_no_project_waits_for_the_part_that_does,
                waiting_patches_are_found_inside_one_batch_too,
                a_run_without_name_type_or_start_is_not_there_yet,
                children_without_a_path_get_one_whichever_run_comes_first,
                a_child_that_names_its_parent_by_another_id_finds_it_whichever_comes_first,
                a_run_that_is_not_there_yet_passes_no_path_on,
                the_first_project_named_for_a_run_wins,
                an_unknown_project_id_refuses_its_part_and_no_other,
                a_post_that_names_no_project_goes_to_the_default_one,
                feedback_that_came_first_is_found_with_its_run,
                feedback_sent_again_changes_nothing,
                feedback_is_a_change_of_its_run,
                deleted_feedback_is_a_change_of_its_run,
                runs_are_listed_newest_start_first_in_pages,
                feedback_is_listed_newest_first_and_by_what_it_is_about,
                feedback_is_listed_by_when_it_was_made_and_whether_on_runs,
                large_and_small_values_come_back_byte_for_byte,
                tenants_do_not_see_each_other;
            paths: a_child_whose_parent_changes_goes_there_with_all_below_whatever_came_first,
                runs_below_themselves_have_no_path_and_find_one_again,
                a_child_follows_the_start_of_those_above_it,
                a_run_costs_what_it_cost_when_it_was_last_written;
            feedback_tokens: a_token_is_found_by_its_id_alone_and_listed_with_its_run,
                a_token_goes_when_it_has_expired_or_with_its_run;
            search: what_a_database_decides_is_what_the_evaluator_decides,
                pages_of_a_search_follow_one_another_in_both_directions,
                runs_are_searched_by_project_by_trace_and_by_id;
            order: change_numbers_have_no_gaps_even_with_concurrent_batches,
                changes_never_go_back_in_time,
                changes_are_read_in_pages_up_to_an_instant,
                a_project_is_stirred_until_it_is_settled,
                a_window_that_leaves_nothing_unseen_settles_its_project,
                a_project_is_leased_to_one_holder_at_a_time,
                a_lease_ends_with_its_time_or_when_it_is_given_back;
            projects: a_tenant_always_has_a_default_project,
                names_are_unique_in_a_tenant,
                a_renamed_project_leaves_its_name_to_a_new_one,
                projects_are_listed_by_id_name_and_part_of_the_name,
                projects_are_listed_in_the_order_that_is_asked_for,
                experiments_are_listed_by_their_dataset_and_apart_from_the_rest,
                a_deleted_project_takes_everything_with_it,
                a_deleted_project_leaves_feedback_on_runs_of_others;
            evaluation: a_window_is_committed_once,
                a_window_that_begins_elsewhere_is_stale,
                a_run_is_matched_once_and_a_second_time_writes_nothing,
                a_window_evaluated_under_other_rules_is_stale,
                a_window_over_an_earlier_life_of_its_project_is_stale,
                a_span_is_used_up_window_by_window,
                windows_that_found_something_are_listed_newest_first;
            rule_log: matches_are_logged_newest_first_with_their_windows,
                a_hastened_rule_gets_what_its_group_has_yet_to_pass_as_a_span,
                a_rule_that_belongs_to_a_project_keeps_its_place_when_that_is_renamed,
                the_last_change_before_an_instant_is_found;
            collections: collections_have_names_of_their_own_among_their_kind,
                examples_are_replaced_by_id_and_go_with_their_dataset,
                a_blob_is_named_by_an_example_until_that_goes,
                queued_runs_come_in_their_order_and_once,
                what_a_match_asks_for_happens_with_it_or_not_at_all,
                what_collections_hold_of_a_run_is_told,
                what_becomes_of_datasets_and_examples_is_told_as_argilla_tells_it;
            events: event_types_are_listed_by_name_and_come_back_when_they_are_made_again,
                applications_and_subscribers_keep_the_order_in_which_they_were_made,
                an_event_goes_to_whoever_hears_of_it_and_once,
                events_are_listed_newest_first_by_application_type_and_instant,
                attempts_are_listed_newest_first_by_endpoint_and_by_message,
                an_event_goes_when_it_is_old_whether_anybody_heard_it_or_not,
                a_failure_is_told_to_those_who_ask_for_it_and_no_further,
                what_an_endpoint_was_never_sent_is_sent_once,
                attempts_are_counted_by_how_they_ended,
                errands_are_listed_in_the_order_of_their_ends_and_forgotten_when_they_are_old,
                one_tenant_is_wiped_and_others_stay;
            placement: a_new_rule_sees_what_comes_after_it,
                a_backfilled_rule_sees_every_change_since_that_instant_once,
                a_rule_that_moves_to_a_group_ahead_sees_every_change_once,
                a_rule_that_moves_to_a_group_behind_sees_every_change_once,
                a_rule_that_moves_to_a_group_of_its_own_sees_every_change_once,
                a_resumed_rule_sees_what_comes_after_that,
                a_project_that_comes_after_a_glob_is_seen_from_its_first_change,
                rules_are_applied_whole_or_not_at_all,
                a_rule_or_an_endpoint_that_is_put_twice_is_a_conflict,
                a_removed_rule_takes_its_endpoints_and_waiting_deliveries_along;
            health: since_when_an_endpoint_fails_is_known_until_it_takes_something,
                a_circuit_stands_with_its_endpoint_until_it_is_closed,
                an_endpoint_that_is_given_up_is_disabled_and_told_of_once,
                what_has_waited_too_long_ends_and_what_is_under_way_does_not,
                what_has_waited_too_long_is_told_as_any_failure_is,
                a_rule_is_told_to_fail_once_until_its_endpoint_takes_something_again,
                nothing_is_told_to_who_is_not_there_or_is_disabled_too;
            outbox: due_deliveries_are_claimed_once_oldest_first,
                an_expired_lease_can_be_claimed_and_its_holder_records_nothing,
                what_is_put_back_can_be_claimed_at_once_and_a_lost_lease_gives_nothing_up,
                what_is_recorded_with_a_lost_lease_counts_and_that_one_alone_does_not,
                a_retry_is_due_when_it_says_and_attempts_go_on_counting,
                the_next_due_instant_follows_leases_and_retries,
                a_finished_delivery_can_be_replayed_and_a_pending_one_cannot,
                a_disabled_endpoint_is_sent_nothing_until_it_is_enabled,
                an_endpoint_that_is_gone_is_disabled_with_all_that_waits_for_it,
                what_an_endpoint_says_beyond_its_policy_comes_back,
                deliveries_are_listed_newest_first_by_state_rule_and_endpoint,
                each_endpoint_gets_its_share_of_first_attempts_and_of_retries,
                what_waits_is_listed_by_endpoint_in_pages,
                a_claim_brings_endpoints_and_messages_along,
                attempts_are_recorded_together_each_for_the_holder_of_its_lease,
                a_message_comes_back_as_it_was,
                sealed_targets_are_listed_by_id_and_replaced_only_if_unchanged;
            alerts: an_alert_and_its_endpoints_are_put_changed_and_removed_together,
                an_act_on_an_alert_is_told_when_it_happened_and_only_then,
                a_tenant_has_no_more_alerts_than_it_may,
                an_evaluation_is_committed_once_with_all_it_says,
                what_an_alert_says_is_claimed_in_its_turn,
                alerts_are_due_when_their_project_has_changed_or_they_are_restless,
                an_alert_goes_with_its_project;
            failed: failed_deliveries_are_listed_in_the_order_of_their_ends,
                failed_deliveries_are_counted_by_endpoint_and_rule_with_their_last_reason,
                deliveries_are_selected_by_their_last_answer_and_until_an_instant;
            names: endpoints_are_listed_page_by_page_named_ones_first,
                names_are_looked_up_and_those_of_others_are_not,
                changes_are_applied_only_while_endpoints_are_as_is_asked;
            retention: a_project_is_aged_when_its_oldest_change_is,
                old_runs_go_with_their_feedback_and_their_changes,
                a_run_that_changed_again_is_as_young_as_that_and_its_old_change_goes,
                a_trace_goes_whole_once_all_of_it_is_old,
                traces_go_when_somebody_asks_for_it_whole_and_no_others,
                runs_are_looked_at_in_batches_that_follow_each_other,
                nothing_is_dropped_under_other_rules_than_those_it_was_seen_with,
                a_run_that_was_dropped_and_comes_again_is_still_matched,
                a_match_is_forgotten_after_its_run_unless_the_run_is_there_again,
                a_message_goes_with_all_its_deliveries_once_the_last_has_ended,
                a_pending_or_replayed_delivery_keeps_its_message,
                old_windows_go_and_young_ones_stay,
                what_never_became_a_run_goes_when_nothing_more_was_heard_of_it,
                a_run_that_became_complete_stays,
                a_blob_is_named_by_its_run_a_part_that_waits_and_a_message,
                a_run_that_has_just_changed_keeps_all_of_its_blobs,
                all_blobs_are_looked_through_by_one_at_a_time,
                two_who_drop_at_the_same_time_leave_what_one_would;
            audit: an_entry_is_there_when_its_act_happened_and_only_then,
                entries_are_listed_newest_first_and_by_who_did_what_to_what,
                a_wipe_is_told_and_old_entries_go;
            keys: a_key_is_stored_once_listed_and_revoked_once,
                markers_are_kept_and_replaced,
                a_wipe_leaves_keys_and_markers_only;
        }
        crate::store::store_suite! { behind $open;
            removal: what_a_project_held_that_was_removed_goes_step_by_step_and_nothing_else;
            broken: parts_of_a_run_that_does_not_decode_are_refused_and_no_others,
                a_run_that_does_not_decode_is_missing_from_pages_alone,
                a_waiting_part_that_does_not_decode_holds_up_no_other,
                feedback_that_does_not_decode_is_passed_over_until_it_is_sent_again,
                an_example_that_does_not_decode_can_be_replaced_and_deleted,
                an_attempt_that_cannot_be_stored_fails_alone;
        }
    };
    (behind $open:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $case() {
                let Some(backend) = $open().await else { return };
                crate::store::$module::$case(backend.store(), async |statement: &str| backend.sql(statement).await).await;
                backend.close().await;
            })+
        })+
    };
    ($open:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $case() {
                let Some(backend) = $open().await else { return };
                crate::store::$module::$case(backend.store()).await;
                backend.close().await;
            })+
        })+
    };
}

pub(crate) use store_suite;
