"""Signals of the fleet to those above it. All are sent inside the transaction that makes the change: receivers write
rows and enqueue tasks, and never call the network."""

from django.dispatch import Signal

# A pool's sandbox became READY. Arguments: sandbox, now.
sandbox_ready = Signal()
# A cold sandbox is healthy and waits for its run (state CREATING, healthy_at set). Arguments: sandbox, now.
cold_sandbox_healthy = Signal()
# A sandbox of a pool that stages entered STAGING: stage it, then call `claims.finish_staging`. Arguments: sandbox, now.
staging_wanted = Signal()
# A sandbox goes to DELETING, for whatever reason. Arguments: sandbox, code (EndCode), reason (a
# sentence), now.
sandbox_ending = Signal()
# A turn is about to plan: the time for sweeps by those above. Sent outside of any transaction. Arguments: now.
turn_begins = Signal()
# A turn asks how many launches wait. Receivers return a `pools.demand.Demand`. Arguments: now.
demand_asked = Signal()
# The admin asks who is in a sandbox. Receivers return a dict of sandbox id to `pools.occupants.Occupant`: for those of
# `sandbox_ids`, or, where that is None, for the runs whose id begins with `run`. Arguments: sandbox_ids, run.
occupants_asked = Signal()
# The admin asks which sandboxes a creator's runs are, or were, in. Receivers return a queryset of their ids. Arguments:
# creator (what was typed).
creations_asked = Signal()
# A turn asks what is to answer in sandboxes that are in use. Receivers return a dict of sandbox id to
# `pools.occupants.Served`, for those where something is. Arguments: sandbox_ids.
served_asked = Signal()
# What is to answer in a sandbox that is in use does not, though its agent does: seen more than once. Arguments:
# sandbox, trouble (a sentence), now.
service_stopped = Signal()
# The admin asks for the launches that wanted a warm sandbox. Receivers return a list of `pools.occupants.Arrival`.
# Arguments: since.
arrivals_asked = Signal()
# A turn, or a page, asks when somebody wanted a warm sandbox of a runtime. Receivers return a list of moments, oldest
# first: the newest `most` of those after `since`. Arguments: runtime, since, most.
launches_asked = Signal()
