/** nothing yet */
