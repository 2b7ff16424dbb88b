//! The rows of the command table: the commands about the server and its cluster.

use super::super::decode::{cluster, server};
use super::flags::{ADMIN, DANGEROUS, FAST, LOADING, NO_SCRIPT, NONE, STALE, WRITE};
use super::key_range::NO_KEYS;
use super::{Group, Spec};

pub(super) static ROWS: [Spec; 7] = [
    Spec::new("time", 1, LOADING | STALE | FAST, NO_KEYS, server::time).docs(
        Group::Server,
        "2.6.0",
        "O(1)",
        "Returns the node's time.",
    ),
    Spec::new("info", -1, LOADING | STALE | DANGEROUS, NO_KEYS, server::info).docs(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Describes the server.",
    ),
    Spec::new("debug", -2, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, server::debug).docs(
        Group::Server,
        "1.0.0",
        "O(N)",
        "Is refused.",
    ),
    Spec::new("command", -1, LOADING | STALE, NO_KEYS, server::command)
        .docs(Group::Server, "2.8.13", "O(N)", "Describes the commands.")
        .containing(&COMMAND_SUBCOMMANDS),
    Spec::new("config", -2, NONE, NO_KEYS, server::container)
        .docs(Group::Server, "2.0.0", "O(N)", "Reads and changes settings.")
        .containing(&CONFIG_SUBCOMMANDS),
    Spec::new("function", -2, NONE, NO_KEYS, server::container)
        .docs(Group::Scripting, "7.0.0", "O(N)", "Is for functions; there are none.")
        .containing(&FUNCTION_SUBCOMMANDS),
    Spec::new("cluster", -2, NONE, NO_KEYS, server::container)
        .docs(Group::Cluster, "3.0.0", "O(N)", "Describes the cluster.")
        .containing(&CLUSTER_SUBCOMMANDS),
];

static COMMAND_SUBCOMMANDS: [Spec; 6] = [
    Spec::new("command|count", 2, LOADING | STALE, NO_KEYS, server::command_count).docs(
        Group::Server,
        "2.8.13",
        "O(1)",
        "Counts the commands.",
    ),
    Spec::new("command|info", -2, LOADING | STALE, NO_KEYS, server::command_info).docs(
        Group::Server,
        "2.8.13",
        "O(N)",
        "Describes commands for programs.",
    ),
    Spec::new("command|docs", -2, LOADING | STALE, NO_KEYS, server::command_docs).docs(
        Group::Server,
        "7.0.0",
        "O(N)",
        "Describes commands for people.",
    ),
    Spec::new("command|list", -2, LOADING | STALE, NO_KEYS, server::command_list).docs(
        Group::Server,
        "7.0.0",
        "O(N)",
        "Lists the names of commands.",
    ),
    Spec::new("command|getkeys", -4, LOADING | STALE, NO_KEYS, server::command_getkeys).docs(
        Group::Server,
        "2.8.13",
        "O(N)",
        "Returns the keys of a command.",
    ),
    Spec::new("command|help", 2, LOADING | STALE, NO_KEYS, server::command_help).docs(
        Group::Server,
        "5.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];

static CONFIG_SUBCOMMANDS: [Spec; 4] = [
    Spec::new("config|get", -3, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, server::config_get)
        .docs(Group::Server, "2.0.0", "O(N)", "Returns settings."),
    Spec::new("config|set", -4, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, server::config_set)
        .docs(Group::Server, "2.0.0", "O(N)", "Changes settings."),
    Spec::new(
        "config|resetstat",
        2,
        ADMIN | NO_SCRIPT | LOADING | STALE,
        NO_KEYS,
        server::config_resetstat,
    )
    .docs(Group::Server, "2.0.0", "O(1)", "Sets the counters of INFO to 0."),
    Spec::new("config|help", 2, LOADING | STALE, NO_KEYS, server::config_help).docs(
        Group::Server,
        "5.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];

static FUNCTION_SUBCOMMANDS: [Spec; 3] = [
    Spec::new("function|flush", -2, WRITE | NO_SCRIPT, NO_KEYS, server::function_flush).docs(
        Group::Scripting,
        "7.0.0",
        "O(N)",
        "Deletes all functions, of which there are none.",
    ),
    Spec::new("function|list", -2, NO_SCRIPT, NO_KEYS, server::function_list).docs(
        Group::Scripting,
        "7.0.0",
        "O(N)",
        "Lists the functions, of which there are none.",
    ),
    Spec::new("function|help", 2, LOADING | STALE, NO_KEYS, server::function_help).docs(
        Group::Scripting,
        "7.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];

static CLUSTER_SUBCOMMANDS: [Spec; 11] = [
    Spec::new("cluster|info", 2, STALE, NO_KEYS, cluster::info).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Tells how the cluster is.",
    ),
    Spec::new("cluster|myid", 2, STALE, NO_KEYS, cluster::myid).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Returns the node's id.",
    ),
    Spec::new("cluster|slots", 2, STALE, NO_KEYS, cluster::slots).docs(
        Group::Cluster,
        "3.0.0",
        "O(N)",
        "Tells which node has which slots.",
    ),
    Spec::new("cluster|shards", 2, STALE, NO_KEYS, cluster::shards).docs(
        Group::Cluster,
        "7.0.0",
        "O(N)",
        "Tells which nodes have which slots.",
    ),
    Spec::new("cluster|nodes", 2, STALE, NO_KEYS, cluster::nodes).docs(
        Group::Cluster,
        "3.0.0",
        "O(N)",
        "Lists the nodes.",
    ),
    Spec::new("cluster|replicas", 3, ADMIN | STALE, NO_KEYS, cluster::replicas).docs(
        Group::Cluster,
        "5.0.0",
        "O(1)",
        "Lists a node's replicas, of which there are none.",
    ),
    Spec::new("cluster|slaves", 3, ADMIN | STALE, NO_KEYS, cluster::replicas).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Lists a node's replicas, of which there are none.",
    ),
    Spec::new("cluster|keyslot", 3, STALE, NO_KEYS, cluster::keyslot).docs(
        Group::Cluster,
        "3.0.0",
        "O(N)",
        "Returns the slot of a key.",
    ),
    Spec::new("cluster|countkeysinslot", 3, STALE, NO_KEYS, cluster::countkeysinslot).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Counts the keys of a slot.",
    ),
    Spec::new("cluster|getkeysinslot", 4, STALE, NO_KEYS, cluster::getkeysinslot).docs(
        Group::Cluster,
        "3.0.0",
        "O(N)",
        "Returns some keys of a slot.",
    ),
    Spec::new("cluster|help", 2, LOADING | STALE, NO_KEYS, cluster::help).docs(
        Group::Cluster,
        "5.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];
