//! The columns of `show stat`, in HAProxy's order: programs go by position. What a row does not have is empty.

/// Declares [`Column`] and its names. Of each: what the typed output says of it, origin, nature and scope.
macro_rules! columns {
    ($($variant:ident $name:literal $typed:literal,)*) => {
        /// A column. Its number is its position.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Column {
            $($variant,)*
        }

        impl Column {
            /// All of them, in order.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Three letters: metric, status, key, configuration; gauge, counter, limit, rate, maximum, average, age, duration,
            /// name, output; process or service.
            pub(super) fn typed(self) -> &'static str {
                match self {
                    $(Self::$variant => $typed,)*
                }
            }
        }
    };
}

columns! {
    Pxname "pxname" "KNS",
    Svname "svname" "KNS",
    Qcur "qcur" "MGP",
    Qmax "qmax" "MMP",
    Scur "scur" "MGP",
    Smax "smax" "MMP",
    Slim "slim" "CLP",
    Stot "stot" "MCP",
    Bin "bin" "MCP",
    Bout "bout" "MCP",
    Dreq "dreq" "MCP",
    Dresp "dresp" "MCP",
    Ereq "ereq" "MCP",
    Econ "econ" "MCP",
    Eresp "eresp" "MCP",
    Wretr "wretr" "MCP",
    Wredis "wredis" "MCP",
    Status "status" "SGP",
    Weight "weight" "MaP",
    Act "act" "SGP",
    Bck "bck" "SGP",
    Chkfail "chkfail" "MCP",
    Chkdown "chkdown" "MCP",
    Lastchg "lastchg" "MAP",
    Downtime "downtime" "MCP",
    Qlimit "qlimit" "CGS",
    Pid "pid" "KGP",
    Iid "iid" "KGS",
    Sid "sid" "KGS",
    Throttle "throttle" "MaP",
    Lbtot "lbtot" "MCP",
    Tracked "tracked" "CNS",
    Type "type" "CGS",
    Rate "rate" "MRP",
    RateLim "rate_lim" "CLP",
    RateMax "rate_max" "MMP",
    CheckStatus "check_status" "MOP",
    CheckCode "check_code" "MOP",
    CheckDuration "check_duration" "MDP",
    Hrsp1xx "hrsp_1xx" "MCP",
    Hrsp2xx "hrsp_2xx" "MCP",
    Hrsp3xx "hrsp_3xx" "MCP",
    Hrsp4xx "hrsp_4xx" "MCP",
    Hrsp5xx "hrsp_5xx" "MCP",
    HrspOther "hrsp_other" "MCP",
    Hanafail "hanafail" "MCP",
    ReqRate "req_rate" "MRP",
    ReqRateMax "req_rate_max" "MMP",
    ReqTot "req_tot" "MCP",
    CliAbrt "cli_abrt" "MCP",
    SrvAbrt "srv_abrt" "MCP",
    CompIn "comp_in" "MCP",
    CompOut "comp_out" "MCP",
    CompByp "comp_byp" "MCP",
    CompRsp "comp_rsp" "MCP",
    Lastsess "lastsess" "MAP",
    LastChk "last_chk" "MOP",
    LastAgt "last_agt" "MOP",
    Qtime "qtime" "MaP",
    Ctime "ctime" "MaP",
    Rtime "rtime" "MaP",
    Ttime "ttime" "MaP",
    AgentStatus "agent_status" "MOP",
    AgentCode "agent_code" "MOP",
    AgentDuration "agent_duration" "MDP",
    CheckDesc "check_desc" "MOP",
    AgentDesc "agent_desc" "MOP",
    CheckRise "check_rise" "CGS",
    CheckFall "check_fall" "CGS",
    CheckHealth "check_health" "CGS",
    AgentRise "agent_rise" "CGS",
    AgentFall "agent_fall" "CGS",
    AgentHealth "agent_health" "CGS",
    Addr "addr" "CGS",
    Cookie "cookie" "CNS",
    Mode "mode" "CGS",
    Algo "algo" "CGS",
    ConnRate "conn_rate" "MRP",
    ConnRateMax "conn_rate_max" "MMP",
    ConnTot "conn_tot" "MCP",
    Intercepted "intercepted" "MCP",
    Dcon "dcon" "MCP",
    Dses "dses" "MCP",
    Wrew "wrew" "MCP",
    Connect "connect" "MCP",
    Reuse "reuse" "MCP",
    CacheLookups "cache_lookups" "MCP",
    CacheHits "cache_hits" "MCP",
    SrvIcur "srv_icur" "MGP",
    SrcIlim "src_ilim" "CLP",
    QtimeMax "qtime_max" "MMP",
    CtimeMax "ctime_max" "MMP",
    RtimeMax "rtime_max" "MMP",
    TtimeMax "ttime_max" "MMP",
    Eint "eint" "MCP",
    IdleConnCur "idle_conn_cur" "MGP",
    SafeConnCur "safe_conn_cur" "MGP",
    UsedConnCur "used_conn_cur" "MGP",
    NeedConnEst "need_conn_est" "MGP",
    Uweight "uweight" "MaP",
    AggServerStatus "agg_server_status" "MGP",
    AggServerCheckStatus "agg_server_check_status" "MGP",
    AggCheckStatus "agg_check_status" "MGP",
    Srid "srid" "MCP",
    SessOther "sess_other" "MCP",
    H1sess "h1sess" "MCP",
    H2sess "h2sess" "MCP",
    H3sess "h3sess" "MCP",
    ReqOther "req_other" "MCP",
    H1req "h1req" "MCP",
    H2req "h2req" "MCP",
    H3req "h3req" "MCP",
    Proto "proto" "CGS",
}
