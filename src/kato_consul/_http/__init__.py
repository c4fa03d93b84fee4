"""The two shells that carry out a flow's steps: all the I/O of the package is here.

`kato_consul._async` and `kato_consul._sync` never import each other. They hold no
opinion: what to do next is the flow's.
"""
