//! deliveries.
