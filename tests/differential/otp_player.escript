#!/usr/bin/env escript
%% Plays scenarios on OTP's own supervisor and writes down what happened.
%%
%% escript otp_player.escript SCENARIOS TRACES
%%
%% SCENARIOS holds a term a line: {Number, Flags, Children, Steps}. TRACES gets, for each event, the
%% number, a blank and a JSON object as `understudy simulate` prints it; and `Number late` when the
%% machine was too slow for the seconds of the scenario to be told apart.
-module(otp_player).
-mode(compile).
-export([main/1, init/1, start_kid/2]).

-define(AT_ONCE, 500).
-define(LIMIT_MS, 60000).

main([From, To]) ->
    logger:set_primary_config(level, none),
    {ok, Scenarios} = file:consult(From),
    {ok, File} = file:open(To, [write, raw, delayed_write]),
    run(Scenarios, 0, File),
    ok = file:close(File).

%% Many at once: what they wait for is mostly the clock.
run([], 0, _File) -> ok;
run([{Number, Flags, Children, Steps} | Rest], Busy, File) when Busy < ?AT_ONCE ->
    Main = self(),
    spawn_link(fun() -> Main ! {played, Number, play(Flags, Children, Steps)} end),
    run(Rest, Busy + 1, File);
run(Scenarios, Busy, File) ->
    receive
        {played, Number, Lines} ->
            Prefix = integer_to_list(Number),
            ok = file:write(File, [[Prefix, " ", Line, "\n"] || Line <- Lines]),
            run(Scenarios, Busy - 1, File)
    after ?LIMIT_MS -> halt(3)
    end.

%% ---- one scenario -------------------------------------------------------------------------

play(Flags, Children, Steps) ->
    process_flag(trap_exit, true),
    Table = ets:new(scenario, [ordered_set, public]),
    ets:insert(Table, [{number, 0}, {late, false}]),
    Second = early_in_a_second(),
    Specs = specs(Flags, Table, Children),
    {ok, Sup} = supervisor:start_link(?MODULE, {Flags, Specs}),
    World = #{sup => Sup, table => Table, dynamic => is_dynamic(Flags)},
    case steps(Steps, Second, 0, World) of
        ended -> ok;
        alive -> finish(World)
    end,
    Events = [json(Event) || {{event, _}, Event} <- ets:tab2list(Table)],
    [{late, Late}] = ets:lookup(Table, late),
    ets:delete(Table),
    Events ++ ["late" || Late].

is_dynamic(#{strategy := Strategy}) -> Strategy =:= simple_one_for_one.

%% The supervisor counts in whole seconds: all that is to happen in one must happen in one.
early_in_a_second() ->
    Now = erlang:monotonic_time(millisecond),
    Second = erlang:monotonic_time(1),
    case Now - Second * 1000 of
        Early when Early >= 0, Early < 200 -> Second;
        _ -> until(Second + 1)
    end.

until(Second) ->
    until_ms(Second * 1000),
    Second.

until_ms(TimeMs) ->
    case TimeMs - erlang:monotonic_time(millisecond) of
        Left when Left > 0 -> timer:sleep(Left), until_ms(TimeMs);
        _ -> ok
    end.

%% It is AtMs milliseconds after the beginning of Second.
steps([], _Second, _AtMs, _World) -> alive;
steps([{wait, Seconds} | Rest], Second, AtMs, World) ->
    ThenMs = AtMs + round(Seconds * 1000),
    until_ms(Second * 1000 + ThenMs),
    steps(Rest, Second, ThenMs, World);
steps([Step | Rest], Second, AtMs, #{table := Table} = World) ->
    together(case Step of {together, Steps} -> Steps; _ -> [Step] end, World),
    case erlang:monotonic_time(1) - Second of
        Seconds when Seconds =:= AtMs div 1000 -> ok;
        _ -> ets:insert(Table, {late, true})
    end,
    case has_ended(World, 0) of
        true -> ended;
        false -> steps(Rest, Second, AtMs, World)
    end.

%% The supervisor is held while the steps are put into its inbox, in their order.
together(Steps, #{sup := Sup, table := Table} = World) ->
    ok = sys:suspend(Sup),
    Asked = [issue(Step, World) || Step <- Steps],
    ok = sys:resume(Sup),
    Results = [answer(A, World) || A <- Asked, A =/= nothing],
    settle(World),
    [say(Table, Result) || Result <- Results, Result =/= nobody].

issue({exit, Id, Reason}, #{sup := Sup, table := Table}) ->
    case living(Table, Id) of
        none -> say(Table, {not_running, Id});
        Pid ->
            say(Table, {exit, Id, Reason}),
            Monitor = monitor(process, Pid),
            case Reason of
                killed -> exit(Pid, kill);
                _ -> Pid ! {die, Reason}
            end,
            receive {'DOWN', Monitor, process, Pid, _} -> ok end,
            await_news(Sup, Pid)
    end,
    nothing;
issue({fail_start, Id, Times}, #{table := Table}) ->
    ets:insert(Table, {{failing, Id}, Times}),
    nothing;
issue({terminate, Id}, #{sup := Sup, table := Table, dynamic := true}) ->
    case living(Table, Id) of
        none -> {terminate, Id, not_found};
        Pid -> {terminate, Id, gen_server:send_request(Sup, {terminate_child, Pid})}
    end;
issue({terminate, Id}, #{sup := Sup}) ->
    {terminate, Id, gen_server:send_request(Sup, {terminate_child, Id})};
issue({restart, Id}, #{sup := Sup}) ->
    {restart, Id, gen_server:send_request(Sup, {restart_child, Id})};
issue({delete, Id}, #{sup := Sup}) ->
    {delete, Id, gen_server:send_request(Sup, {delete_child, Id})};
issue({start, {Id, _, _}}, #{sup := Sup, dynamic := true}) ->
    {start_child, Id, gen_server:send_request(Sup, {start_child, [Id]})};
issue({start, {Id, _, _} = Child}, #{sup := Sup, table := Table}) ->
    {start_child, Id, gen_server:send_request(Sup, {start_child, spec(Table, Child)})}.

await_news(Sup, Pid) ->
    {messages, Messages} = process_info(Sup, messages),
    case [ok || {'EXIT', From, _} <- Messages, From =:= Pid] of
        [] -> erlang:yield(), await_news(Sup, Pid);
        _ -> ok
    end.

answer({Op, Id, not_found}, _World) -> {result, Op, Id, not_found};
answer({Op, Id, Request}, _World) ->
    case gen_server:wait_response(Request, ?LIMIT_MS) of
        {reply, Reply} -> {result, Op, Id, word(Reply)};
        {error, _} -> nobody
    end.

word(ok) -> ok;
word({ok, _}) -> ok;
word({error, not_found}) -> not_found;
word({error, running}) -> running;
word({error, restarting}) -> restarting;
word({error, already_present}) -> already_present;
word({error, {already_started, _}}) -> already_started;
word({error, failed}) -> start_failed;
word({error, {failed, _}}) -> start_failed.

%% Nothing is left to try again: nobody is restarting, asked twice, and the inbox is empty.
settle(World) -> settle(World, 2).

settle(_World, 0) -> ok;
settle(#{sup := Sup} = World, Left) ->
    try supervisor:which_children(Sup) of
        Children ->
            Restarting = lists:keymember(restarting, 2, Children),
            case process_info(Sup, message_queue_len) of
                {message_queue_len, 0} when not Restarting -> settle(World, Left - 1);
                _ -> settle(World, 2)
            end
    catch
        exit:_ -> true = has_ended(World, ?LIMIT_MS)
    end.

has_ended(#{sup := Sup, table := Table}, Patience) ->
    receive
        {'EXIT', Sup, Reason} ->
            ets:insert(Table, {ended, Reason}),
            self() ! ended;
        ended -> self() ! ended
    after Patience -> ok
    end,
    case ets:lookup(Table, ended) of
        [] -> false;
        [{ended, told}] -> true;
        [{ended, Why}] ->
            %% Told after the results, which `together` writes once all is settled.
            case Patience of
                0 -> ets:insert(Table, {ended, told}), say(Table, {supervisor_exit, Why});
                _ -> ok
            end,
            true
    end.

finish(#{sup := Sup, table := Table} = World) ->
    [say(Table, {child, id(Table, Child), state(Child)})
     || Child <- lists:reverse(supervisor:which_children(Sup))],
    exit(Sup, shutdown),
    true = has_ended(World, ?LIMIT_MS),
    has_ended(World, 0).

id(Table, {undefined, Pid, _, _}) -> ets:lookup_element(Table, {id, Pid}, 2);
id(_Table, {Id, _, _, _}) -> Id.

state({_, undefined, _, _}) -> stopped;
state({_, restarting, _, _}) -> restarting;
state({_, _, _, _}) -> running.

%% ---- the supervisor's callback, and its children -------------------------------------------

init({Flags, Specs}) -> {ok, {Flags, Specs}}.

specs(#{strategy := simple_one_for_one}, Table, [{_, Restart, Significant}]) ->
    [#{id => any, start => {?MODULE, start_kid, [Table]}, restart => Restart,
       significant => Significant}];
specs(_Flags, Table, Children) -> [spec(Table, Child) || Child <- Children].

spec(Table, {Id, Restart, Significant}) ->
    #{id => Id, start => {?MODULE, start_kid, [Table, Id]}, restart => Restart,
      significant => Significant}.

start_kid(Table, Id) ->
    case ets:lookup(Table, {failing, Id}) of
        [{_, Times}] when Times > 0 ->
            ets:insert(Table, {{failing, Id}, Times - 1}),
            say(Table, {start_failed, Id}),
            {error, failed};
        _ ->
            say(Table, {start, Id}),
            Sup = self(),
            Pid = spawn_link(fun() -> kid(Table, Id, Sup) end),
            receive {Pid, ready} -> ok end,
            ets:insert(Table, [{{pid, Id}, Pid}, {{id, Pid}, Id}]),
            {ok, Pid}
    end.

kid(Table, Id, Sup) ->
    process_flag(trap_exit, true),
    Sup ! {self(), ready},
    receive
        {die, Reason} -> exit(Reason);
        {'EXIT', Sup, Reason} -> say(Table, {stop, Id}), exit(Reason)
    end.

living(Table, Id) ->
    case ets:lookup(Table, {pid, Id}) of
        [{_, Pid}] ->
            case is_process_alive(Pid) of
                true -> Pid;
                false -> none
            end;
        [] -> none
    end.

%% ---- what happened -------------------------------------------------------------------------

say(Table, Event) ->
    Number = ets:update_counter(Table, number, 1),
    ets:insert(Table, {{event, Number}, Event}).

json({supervisor_exit, Reason}) -> object([{event, supervisor_exit}, {reason, Reason}]);
json({exit, Id, Reason}) -> object([{event, exit}, {child, Id}, {reason, Reason}]);
json({child, Id, State}) -> object([{event, child}, {child, Id}, {state, State}]);
json({result, Op, Id, Result}) ->
    object([{event, result}, {op, Op}, {child, Id}, {result, Result}]);
json({Event, Id}) -> object([{event, Event}, {child, Id}]).

object(Pairs) ->
    ["{", lists:join(", ", [io_lib:format("\"~s\": \"~s\"", [K, V]) || {K, V} <- Pairs]), "}"].
