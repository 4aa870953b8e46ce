//! The address guard: nothing is sent to an address the operator did not allow.

use ipnet::IpNet;

/// Which targets are allowed.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks that are allowed although they are not public.
    pub allowed: Vec<IpNet>,
}
