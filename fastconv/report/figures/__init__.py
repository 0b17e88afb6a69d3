"""The plots, a file each: ``TITLE``, ``CAPTION``, ``NEEDS`` and ``panels(results)``.

``panels`` is empty where the results hold nothing to plot; ``NEEDS`` then says what to run.
"""
