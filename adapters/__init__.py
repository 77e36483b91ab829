"""How the outside is met: the only place that names a driver or a foreign format.

Each outside thing has one module or package, named after it.
"""
