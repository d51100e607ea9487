//! The metrics of limits.

use super::declare;

declare! {
    LIMITS_GROUP "Limits"
    LIMIT_REQUESTS = counter "tollgate_limit_requests_total" ["limit", "outcome"]
        "What limits were asked, by limit and outcome. One request may be asked for several times: each class or value of its events.";
    LIMIT_OVERRIDES = gauge "tollgate_limit_overrides" ["change"]
        "Keys of limits that are banned or raised. Bound: quota.max_overrides.";
    LIMIT_OVERRIDES_IDLE = gauge "tollgate_limit_overrides_idle" []
        "Overrides without effect, since their limit or key does not exist.";
    QUOTA_SAVES = counter "tollgate_quota_saves_total" ["outcome"]
        "Writes of what is used of budgets. Alert on failed: a restart would forget it.";
    QUOTA_DAMAGED_FILES = gauge "tollgate_quota_damaged_files" []
        "Files of budgets and overrides that could not be read at the start. Alert on any: a ban may be among them.";
    LIMIT_BANNED = counter "tollgate_limit_banned_total" ["limit"]
        "Refused because the key is banned.";
    LIMIT_NEWCOMERS_REFUSED = counter "tollgate_limit_newcomers_refused_total" ["limit"]
        "Refused because too many new keys came at once. Many: somebody changes keys, or max_keys is too small.";
    LIMIT_GIVEN_BACK = counter "tollgate_limit_given_back_total" ["limit"]
        "Taken for requests that were refused later, and given back.";
    LIMIT_KEYS = gauge "tollgate_limit_keys" ["limit"]
        "Places that hold a key, of which some may be idle.";
    LIMIT_KEY_CAPACITY = gauge "tollgate_limit_key_capacity" ["limit"]
        "Places for keys (max_keys, rounded up).";
    QUOTA_STORE_UP = gauge "tollgate_quota_store_up" []
        "Whether the store of shared limits answers. Alert on 0: each node goes on alone, or refuses.";
    QUOTA_STORE_CHANGES = counter "tollgate_quota_store_changes_total" []
        "Changes of the store of shared limits between up and down.";
    QUOTA_STORE_NODES = gauge "tollgate_quota_store_nodes" []
        "Nodes that share limits, seen in the last seconds. Alert when there are more than quota.redis.nodes.";
    QUOTA_STORE_ROUND_TRIPS = counter "tollgate_quota_store_round_trips_total" []
        "Batches of leases that the store of shared limits has answered.";
    QUOTA_STORE_LEASES = counter "tollgate_quota_store_leases_total" []
        "Leases that were asked for.";
    QUOTA_STORE_LEASES_CROWDED = counter "tollgate_quota_store_leases_crowded_total" []
        "Leases that could not be asked for at once, since too many waited.";
    QUOTA_STORE_FAULTS = counter "tollgate_quota_store_faults_total" ["fault"]
        "What the store of shared limits did not do, by kind of fault.";
    QUOTA_STORE_NEWS = counter "tollgate_quota_store_news_total" ["outcome"]
        "Revocations, bans and raises that were sent to other nodes, that came from them, and that were not understood or could not be kept.";
    LIMIT_ALONE = counter "tollgate_limit_alone_total" ["limit"]
        "Of a shared limit: decided by this node alone, since the store was away or late.";
    LIMIT_OUTRUN = counter "tollgate_limit_outrun_total" ["limit"]
        "Of a shared limit: refused before the store had answered. Many: raise quota.redis.lease.";
}
