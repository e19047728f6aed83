"""From files to what is written of them: the loop, its writers, a study, the worker process."""
