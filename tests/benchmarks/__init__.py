"""What things cost, measured on real servers; run by `make bench`.

LOG            which log: postgres, kafka
MODE           bulk, idle, large, takeover, rebuild, queries, memory, open, http, latency, or all
BENCH_JSON     a file for the figures, one JSON object a line
BENCH_TICKETS, BENCH_IN_FLIGHT, BENCH_ENGINES   the size of the load, and of what bears it
BENCH_WORKERS, BENCH_SLOTS, BENCH_IDLERS, BENCH_RATE, BENCH_SECONDS   the same with runners

__main__.py    runs the modes: START READING HERE
bulk.py  idle.py  large.py    one mode each;  cost.py   what the domain alone costs
http.py  latency.py           tickets that runners take through their lives, all of it over HTTP:
runners.py     the runners, which have no work to do;  api.py   where they ask
queries.py     a mode too, on the rows that many.py makes (BENCH_TICKETS=1000000: 6 GB)
system.py      the log's servers and the engines, as processes of their own
tickets.py     what is asked for;  check.py   whether it is all in the log
cpu.py         whose time it takes;  report.py   the figures
"""
